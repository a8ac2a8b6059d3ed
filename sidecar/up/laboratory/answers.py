"""How does a text become a chat completion or a response, whole or as a stream of events?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sidecar.up.laboratory.wire import Usage, dump

MAX_PIECES = 64  # a long answer comes in longer pieces, not in thousands of events
_WORDS = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Turn:
    """All that is known of an answer before it is put into a format."""

    id: str
    created_at_s: int  # seconds since 1970
    model: str
    text: str
    usage: Usage


def pieces(text: str) -> list[str]:
    """Cut a text into at most `MAX_PIECES` pieces that join to it, at word ends."""
    words = _WORDS.findall(text)
    size = -(-len(words) // MAX_PIECES) or 1
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def chat_answer(turn: Turn) -> dict[str, Any]:
    """Shape a whole chat completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": turn.text,
        "refusal": None,
        "annotations": [],
    }
    return {
        **_chat_head(turn, "chat.completion"),
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": _chat_usage(turn.usage),
    }


def chat_events(turn: Turn, *, include_usage: bool) -> Iterator[bytes]:
    """Yield the server-sent events of a streamed chat completion."""
    head = _chat_head(turn, "chat.completion.chunk")
    # With usage asked for, OpenAI sends the key in every chunk, empty but in the last.
    extra: dict[str, Any] = {"usage": None} if include_usage else {}
    deltas = [
        {"role": "assistant", "content": "", "refusal": None},
        *({"content": piece} for piece in pieces(turn.text)),
    ]
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield _event({**head, "choices": [choice], **extra})
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    yield _event({**head, "choices": [last], **extra})
    if include_usage:
        yield _event({**head, "choices": [], "usage": _chat_usage(turn.usage)})
    yield b"data: [DONE]\n\n"


def response_answer(turn: Turn) -> dict[str, Any]:
    """Shape a whole response of the Responses API."""
    return _response(turn, "completed", [_message(turn, "completed", [_part(turn.text)])])


def response_events(turn: Turn) -> Iterator[bytes]:
    """Yield the server-sent events of a streamed response, numbered from 0."""
    for number, (name, fields) in enumerate(_response_steps(turn)):
        kind = f"response.{name}"
        body = {"type": kind, "sequence_number": number, **fields}
        yield b"event: " + kind.encode() + b"\n" + _event(body)


def _response_steps(turn: Turn) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event's name, without its prefix, and its fields."""
    opened = _response(turn, "in_progress", [])
    item = {"output_index": 0}
    part = {"item_id": f"msg_{turn.id}", "output_index": 0, "content_index": 0}
    message = _message(turn, "completed", [_part(turn.text)])
    yield "created", {"response": opened}
    yield "in_progress", {"response": opened}
    yield "output_item.added", {**item, "item": _message(turn, "in_progress", [])}
    yield "content_part.added", {**part, "part": _part("")}
    for piece in pieces(turn.text):
        yield "output_text.delta", {**part, "delta": piece, "logprobs": []}
    yield "output_text.done", {**part, "text": turn.text, "logprobs": []}
    yield "content_part.done", {**part, "part": _part(turn.text)}
    yield "output_item.done", {**item, "item": message}
    yield "completed", {"response": response_answer(turn)}


def _chat_head(turn: Turn, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn.id}",
        "object": kind,
        "created": turn.created_at_s,
        "model": turn.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _response(turn: Turn, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    """Shape a response; one in progress has no usage yet."""
    return {
        "id": f"resp_{turn.id}",
        "object": "response",
        "created_at": turn.created_at_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": turn.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _response_usage(turn.usage) if status == "completed" else None,
        "user": None,
    }


def _response_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def _message(turn: Turn, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_{turn.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + dump(body) + b"\n\n"
