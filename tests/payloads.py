"""LiteLLM's dicts and objects as `tests.recorder` found them, without its import of 3 s."""

import json
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "unit" / "payloads.json"


class Recorded:
    """An object of LiteLLM's: its attributes, and the `model_dump` of its base class."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, restored(value))

    def model_dump(self, **_options: object) -> dict[str, Any]:
        return _plain(self.fields)


class Stream:
    """A stream of pieces, with LiteLLM's notes on it; breaks off with `error`, if given."""

    def __init__(
        self, pieces: list[Any], notes: dict[str, Any], error: BaseException | None = None
    ) -> None:
        self.pieces = pieces
        self._hidden_params = notes
        self.error = error

    async def __aiter__(self) -> AsyncIterator[object]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error


@cache
def _file() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def scenario(surface: str, kind: str, end: str) -> dict[str, Any]:
    """Give what each hook got in one call, made anew.

    Args:
        surface: `chat`, `responses` or `messages`.
        kind: `whole` or `stream`.
        end: `served`, `failed over` or `failed`.
    """
    found: dict[str, Any] = restored(_file()[f"{surface}, {kind}, {end}"])
    return found


def stream_of(found: dict[str, Any], error: BaseException | None = None) -> Stream:
    """Give a scenario's stream, as the iterator hook gets it."""
    streamed = found["streamed"]
    return Stream(streamed["chunks"], streamed["stream"].get("_hidden_params", {}), error)


def error_of(found: dict[str, Any]) -> Exception:
    """Give a scenario's error, with the class name and the attributes of LiteLLM's."""
    recorded = found["failed"]["error"]
    error: Exception = type(recorded.fields["$class"], (Exception,), {})("the provider's words")
    for name in ("status_code", "code", "failed_deployment_id"):
        setattr(error, name, recorded.fields[name])
    return error


def restored(value: Any) -> Any:
    """Make of recorded JSON what looks like the recorded object."""
    if isinstance(value, dict):
        if "$bytes" in value:
            return str(value["$bytes"]).encode()
        if "$class" in value:
            return Recorded(value)
        return {key: restored(item) for key, item in value.items()}
    return [restored(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in {"$class", "_hidden_params"}}
    return [_plain(item) for item in value] if isinstance(value, list) else value
