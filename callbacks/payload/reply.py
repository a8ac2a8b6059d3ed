"""What did the provider answer? One form for every surface."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecar.core.calls import Answer


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; None where the provider did not say."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer.

    Args:
        deployment: Id of who answered; None when the response does not tell.
        provider_model: The provider's own name for it.
        cost_usd: What LiteLLM reckons; None or 0 mean that it may not know.
        response_id: The answer's own id.
    """

    answer: Answer = field(default_factory=Answer)
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    deployment: str | None = None
    provider_model: str | None = None
    cost_usd: float | None = None
    response_id: str | None = None


def read_reply(response: object) -> Reply:
    """Read a non-streamed answer of any surface, as the success hook gets it."""
    get = _getter(response)
    # The commonest first: what LiteLLM's objects do not have, they are slow to say.
    if get("choices") is not None:
        answer, finish = _chat_answer(get)
    elif get("output") is not None:
        answer, finish = _responses_answer(get)
    elif get("content") is not None:
        answer, finish = _messages_answer(get)
    else:
        answer, finish = Answer(), None
    return Reply(
        answer=answer,
        finish_reason=finish,
        usage=read_usage(get("usage")),
        deployment=served_deployment(response),
        provider_model=_text(get("model")),
        cost_usd=_number(hidden_params(response).get("response_cost")),
        response_id=read_id(response),
    )


def read_id(response: object) -> str | None:
    """Read the id of an answer of any surface, as it is at this moment."""
    return _text(_getter(response)("id"))


def read_usage(usage: object) -> Usage:
    """Read token counts under the names of any surface."""
    if usage is None:
        return Usage()
    get = _getter(usage)
    details = get("prompt_tokens_details") or get("input_tokens_details")
    cached = _getter(details)("cached_tokens") if details is not None else None
    return Usage(
        prompt=_first_int(get, "prompt_tokens", "input_tokens"),
        completion=_first_int(get, "completion_tokens", "output_tokens"),
        cached=cached
        if isinstance(cached, int)
        else _first_int(get, "cache_read_input_tokens"),
    )


def read_logged(kwargs: Mapping[str, Any], response: object) -> Reply:
    """Read what LiteLLM knows once it has logged a call: cost, and tokens of a stream."""
    return Reply(
        usage=read_usage(_getter(response)("usage")),
        cost_usd=_number(kwargs.get("response_cost")),
        deployment=_text(_getter(kwargs.get("standard_logging_object"))("model_id")),
    )


def hidden_params(response: object) -> Mapping[str, Any]:
    """Read LiteLLM's notes on a response; empty when it has none."""
    hidden = _getter(response)("_hidden_params")
    return hidden if isinstance(hidden, Mapping) else {}


def served_deployment(response: object) -> str | None:
    """Say which deployment answered, if the response itself tells."""
    return _text(hidden_params(response).get("model_id"))


def noted_deployment(data: Mapping[str, Any]) -> str | None:
    """Say which deployment the router noted; it keeps the first one after some failovers."""
    for key in ("litellm_metadata", "metadata"):
        bucket = data.get(key)
        info = bucket.get("model_info") if isinstance(bucket, Mapping) else None
        if isinstance(info, Mapping) and info.get("id"):
            return str(info["id"])
    return None


def plain(value: object) -> object:
    """Turn LiteLLM's and OpenAI's objects into JSON values."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def _getter(value: object) -> Any:  # noqa: ANN401  (reads dicts and objects alike)
    if isinstance(value, Mapping):
        return value.get
    return lambda name: getattr(value, name, None)


def _chat_answer(get: Any) -> tuple[Answer, str | None]:  # noqa: ANN401
    choices = get("choices") or ()
    if not choices:
        return Answer(), None
    texts = [_text(_getter(_getter(c)("message"))("content")) for c in choices]
    message = _getter(_getter(choices[0])("message"))
    answer = Answer(
        text=texts[0],
        tool_calls=[plain(call) for call in message("tool_calls") or ()],
        refusal=_text(message("refusal")),
        others=[text for text in texts[1:] if text is not None],
    )
    return answer, _text(_getter(choices[0])("finish_reason"))


def _responses_answer(get: Any) -> tuple[Answer, str | None]:  # noqa: ANN401
    texts, refusals, calls = [], [], []
    for item in get("output") or ():
        read = _getter(item)
        if read("type") != "message":
            if str(read("type")).endswith("_call"):
                calls.append(plain(item))
            continue
        for part in read("content") or ():
            piece = _getter(part)
            texts.append(_text(piece("text")) or "")
            refusals.append(_text(piece("refusal")) or "")
    details = get("incomplete_details")
    reason = _text(_getter(details)("reason")) if details is not None else None
    answer = Answer("".join(texts) if texts else None, calls, "".join(refusals) or None)
    return answer, reason or _text(get("status"))


def _messages_answer(get: Any) -> tuple[Answer, str | None]:  # noqa: ANN401
    blocks = [_getter(block) for block in get("content") or ()]
    texts = [_text(read("text")) or "" for read in blocks if read("type") == "text"]
    calls = [
        {"id": read("id"), "name": read("name"), "input": plain(read("input"))}
        for read in blocks
        if read("type") == "tool_use"
    ]
    finish = _text(get("stop_reason"))
    return Answer("".join(texts) if texts else None, calls), finish


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _first_int(get: Any, *names: str) -> int | None:  # noqa: ANN401
    return next((value for name in names if isinstance(value := get(name), int)), None)
