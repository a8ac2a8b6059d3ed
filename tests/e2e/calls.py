"""How a client asks, on each surface, streamed or not; what it saw, in one form."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import openai

POST = "Our site was down for an hour and nobody told us. Which monitoring do you use?"


@dataclass(frozen=True)
class Seen:
    """What the client saw: a status, or None for a stream that broke; text; our headers.

    Also the answer's ids, as many as there are different ones: in a stream each piece has one.
    """

    status: int | None
    text: str
    headers: dict[str, str]
    ids: frozenset[str] = frozenset()

    @property
    def call_id(self) -> str:
        return self.headers["x-signalops-call-id"]


def ours(headers: Any) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items() if k.lower().startswith("x-signalops-")}


def chat(
    client: openai.OpenAI, model: str, unit: str, *, stream: bool, text: str = POST
) -> Seen:
    return _seen(
        lambda: client.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            stream=stream,
            extra_headers={"x-signalops-unit": unit},
        ),
        lambda chunk: chunk.choices[0].delta.content or "" if chunk.choices else "",
        lambda whole: whole.choices[0].message.content,
        stream=stream,
    )


def responses(
    client: openai.OpenAI, model: str, unit: str, *, stream: bool, text: str = POST
) -> Seen:
    def piece(event: Any) -> str:
        if event.type == "response.failed":
            raise Broken
        return str(event.delta) if event.type == "response.output_text.delta" else ""

    return _seen(
        lambda: client.responses.with_raw_response.create(
            model=model, input=text, stream=stream, extra_headers={"x-signalops-unit": unit}
        ),
        piece,
        lambda whole: whole.output_text,
        stream=stream,
    )


def messages(
    client: openai.OpenAI, model: str, unit: str, *, stream: bool, text: str = POST
) -> Seen:
    body = {
        "model": model,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
    }
    headers = {"x-api-key": client.api_key, "x-signalops-unit": unit}
    answer = httpx.post(f"{client.base_url}messages", json=body, headers=headers, timeout=60)
    if answer.status_code != 200:
        return Seen(answer.status_code, "", ours(answer.headers))
    if not stream:
        message = answer.json()
        said = "".join(block["text"] for block in message["content"])
        return Seen(200, said, ours(answer.headers), frozenset({message["id"]}))
    lines = [line for line in answer.text.splitlines() if line.startswith("data:")]
    events = [json.loads(line[5:]) for line in lines]
    found = "".join(event.get("delta", {}).get("text", "") for event in events)
    whole = any(event["type"] == "message_stop" for event in events)
    ids = frozenset(event["message"]["id"] for event in events if "message" in event)
    return Seen(200 if whole else None, found, ours(answer.headers), ids)


SURFACES = {"chat": chat, "responses": responses, "messages": messages}


class Broken(Exception):
    """A stream that says itself that it failed."""


def _seen(
    ask: Callable[[], Any],
    piece: Callable[[Any], str],
    whole: Callable[[Any], str],
    *,
    stream: bool,
) -> Seen:
    try:
        raw = ask()
    except openai.APIStatusError as error:
        return Seen(error.status_code, "", ours(error.response.headers))
    headers = ours(raw.headers)
    if not stream:
        found = raw.parse()
        return Seen(raw.status_code, whole(found), headers, _ids([found]))
    text, parts = "", []
    try:
        for part in raw.parse():
            parts.append(part)
            text += piece(part)
    except (openai.APIError, Broken):
        return Seen(None, text, headers)
    return Seen(raw.status_code, text, headers, _ids(parts))


def _ids(parts: list[Any]) -> frozenset[str]:
    """Collect the answer's ids: of completions and chunks, or of the events' responses."""
    answers = [getattr(part, "response", part) for part in parts]
    return frozenset(answer.id for answer in answers if getattr(answer, "id", None))
