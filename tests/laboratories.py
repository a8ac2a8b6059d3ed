"""A laboratory as a real process, and the ways to ask it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

COMMAND = [sys.executable, "-m", "sidecar.up.laboratory"]
STRANGE = 'naïve 😀👩\u200d👩\u200d👧 "quoted" \x00 \u202eback\n  end '
FINE_TUNE = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"


@dataclass(frozen=True)
class Running:
    """A laboratory under test, with a client for each side of it."""

    client: openai.OpenAI
    controls: httpx.Client

    def set(self, model: str, **settings: Any) -> None:
        self.controls.patch(f"/lab/models/{model}", json=settings).raise_for_status()

    def counts(self, model: str) -> dict[str, int]:
        rows: dict[str, dict[str, int]] = self.controls.get("/lab/requests").json()["models"]
        return rows.get(model, {})

    def with_options(self, **options: Any) -> "Running":
        """Share the connections, so that only the first client needs closing."""
        return Running(self.client.with_options(**options), self.controls)


@contextmanager
def laboratory(*arguments: str, key: str = "any", **environment: str) -> Iterator[Running]:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            base_url = f"http://127.0.0.1:{ready['port']}"
            assert ready == {
                "event": "laboratory.ready",
                "port": ready["port"],
                "url": f"{base_url}/v1",
            }
            with (
                openai.OpenAI(
                    base_url=ready["url"], api_key=key, max_retries=0, timeout=20
                ) as client,
                httpx.Client(base_url=base_url, timeout=20) as controls,
            ):
                yield Running(client, controls)
        finally:
            process.terminate()


def chat(lab: Running, model: str, text: str, **options: Any) -> Any:
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": text},
    ]
    return lab.client.chat.completions.create(model=model, messages=messages, **options)


def chat_text(lab: Running, model: str, text: str) -> str:
    content: str = chat(lab, model, text).choices[0].message.content
    return content


def chat_stream_text(lab: Running, model: str, text: str) -> str:
    with chat(lab, model, text, stream=True) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def response_text(lab: Running, model: str, text: str) -> str:
    return lab.client.responses.create(model=model, input=text).output_text


def response_stream_text(lab: Running, model: str, text: str) -> str:
    with lab.client.responses.create(model=model, input=text, stream=True) as stream:
        return "".join(e.delta for e in stream if e.type == "response.output_text.delta")


Surface = Callable[[Running, str, str], str]
SURFACES = [
    pytest.param(chat_text, id="chat"),
    pytest.param(chat_stream_text, id="chat stream"),
    pytest.param(response_text, id="response"),
    pytest.param(response_stream_text, id="response stream"),
]
