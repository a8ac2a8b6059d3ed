"""What did a streamed answer add up to? Collect the pieces, read them when it ends.

While the stream runs only references are kept; the work is done once, after the last
piece has gone out.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from callbacks.payload.reply import (
    Reply,
    Usage,
    plain,
    read_id,
    read_reply,
    read_usage,
    served_deployment,
)
from sidecar.core.calls import Answer

FINAL_EVENTS = ("response.completed", "response.incomplete", "response.failed")


class StreamCutError(Exception):
    """A stream that ended early, and LiteLLM passed that on as if it were an end."""


class StreamReader:
    """Gathers the pieces of one stream, of any surface."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._pieces: list[object] = []

    def feed(self, piece: object) -> None:
        """Keep one piece."""
        self._pieces.append(piece)

    @staticmethod
    def is_final(piece: object) -> bool:
        """Whether a client that has this piece takes the answer for complete.

        Chat completions end with a mark that LiteLLM sends after the last piece.
        """
        if isinstance(piece, bytes | str):
            return (b"message_stop" if isinstance(piece, bytes) else "message_stop") in piece  # type: ignore[operator]
        return str(_event_type(piece)) in FINAL_EVENTS

    def is_whole(self) -> bool:
        """Whether a stream that is over ended as its surface ends; True if it cannot tell.

        LiteLLM sometimes ends a stream that its provider cut off as if all was well
        (messages, 1.106.2); the client then misses the last event.
        """
        first = self._pieces[0] if self._pieces else None
        if isinstance(first, bytes | str):
            return b"message_stop" in _joined(self._pieces)  # in two pieces, it may be
        if not str(_event_type(first)).startswith("response."):
            return True
        return any(self.is_final(piece) for piece in reversed(self._pieces))

    def reply(self, response: object) -> Reply:
        """Put together what has come, which may be part of an answer.

        Args:
            response: The stream object, for LiteLLM's notes on it.
        """
        first = self._pieces[0] if self._pieces else None
        if isinstance(first, bytes | str):
            reply = _read_events(_sse(self._pieces))
        elif getattr(first, "choices", None) is not None:
            reply = _read_chunks(self._pieces)
        else:
            reply = _read_responses(self._pieces)
        return replace(reply, deployment=served_deployment(response))


def _read_chunks(pieces: list[object]) -> Reply:
    """Read the chunks of chat completions."""
    texts: list[str] = []
    refusals: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    finish = model = response_id = None
    usage = Usage()
    for piece in pieces:
        model = model or getattr(piece, "model", None)
        response_id = response_id or read_id(piece)
        if found := getattr(piece, "usage", None):
            usage = read_usage(found)
        choice = next(iter(getattr(piece, "choices", None) or ()), None)
        if choice is None:
            continue
        finish = getattr(choice, "finish_reason", None) or finish
        delta = getattr(choice, "delta", None)
        texts.append(getattr(delta, "content", None) or "")
        refusals.append(getattr(delta, "refusal", None) or "")
        for call in getattr(delta, "tool_calls", None) or ():
            _merge_call(calls, plain(call))
    text = "".join(texts)
    answer = Answer(
        text=text if text or not calls else None,
        tool_calls=[calls[index] for index in sorted(calls)],
        refusal="".join(refusals) or None,
    )
    return Reply(answer, finish, usage, provider_model=model, response_id=response_id)


def _merge_call(calls: dict[int, dict[str, Any]], piece: object) -> None:
    """Add one piece of a tool call: the arguments come in fragments."""
    if not isinstance(piece, dict):
        return
    call = calls.setdefault(int(piece.get("index") or 0), {"function": {"arguments": ""}})
    function = piece.get("function") or {}
    call["function"]["arguments"] += function.get("arguments") or ""
    call.update({key: piece[key] for key in ("id", "type") if piece.get(key)})
    if function.get("name"):
        call["function"]["name"] = function["name"]


def _read_responses(pieces: list[object]) -> Reply:
    """Read the events of the Responses API; the last one carries the whole answer.

    Its id is taken from the first: LiteLLM gives the client another id than the provider's,
    and writes that into each event after we have passed it on, so not yet into the last.
    """
    ids = (read_id(getattr(piece, "response", None)) for piece in pieces)
    response_id = next(filter(None, ids), None)
    for piece in reversed(pieces):
        if str(_event_type(piece)) in FINAL_EVENTS:
            final = read_reply(getattr(piece, "response", None))
            return replace(final, response_id=response_id)
    texts = [
        getattr(piece, "delta", None) or ""
        for piece in pieces
        if str(_event_type(piece)) == "response.output_text.delta"
    ]
    answer = Answer("".join(texts) if texts else None)
    return Reply(answer, response_id=response_id)


def _event_type(piece: object) -> object:
    found = getattr(piece, "type", "")
    return getattr(found, "value", found)


def _read_events(events: Iterator[dict[str, Any]]) -> Reply:
    """Read the events of the Messages API."""
    texts: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    finish = model = response_id = None
    usage: dict[str, Any] = {}
    for event in events:
        message = event.get("message") or {}
        model = model or message.get("model")
        response_id = response_id or read_id(message)
        usage |= {k: v for k, v in (message.get("usage") or {}).items() if v is not None}
        usage |= {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
        delta = event.get("delta") or {}
        finish = delta.get("stop_reason") or finish
        texts.append(delta.get("text") or "")
        block = event.get("content_block") or {}
        index = int(event.get("index") or 0)
        if block.get("type") == "tool_use":
            calls[index] = {"id": block.get("id"), "name": block.get("name"), "input": ""}
        if index in calls:
            calls[index]["input"] += delta.get("partial_json") or ""
    text = "".join(texts)
    answer = Answer(text if text or not calls else None, list(calls.values()))
    told = read_usage(usage)
    return Reply(answer, finish, told, provider_model=model, response_id=response_id)


def _sse(pieces: list[object]) -> Iterator[dict[str, Any]]:
    """Read the JSON objects out of server-sent events, cut anywhere."""
    for line in _joined(pieces).split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        try:
            event = json.loads(line[5:])
        except ValueError:
            continue  # the frame was cut, or it is the `[DONE]` mark
        if isinstance(event, dict):
            yield event


def _joined(pieces: list[object]) -> bytes:
    return b"".join(p if isinstance(p, bytes) else str(p).encode() for p in pieces)
