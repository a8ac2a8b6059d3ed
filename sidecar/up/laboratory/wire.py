"""What does a request ask, and what does an answer look like, in OpenAI's JSON?

The only file that knows the keys of chat completions, responses and embeddings. Token
counts are a rule of thumb (four bytes a token), steady enough to check accounting with.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from sidecar.up.laboratory.errors import ApiError

BYTES_PER_TOKEN = 4
EMBEDDING_SIZE = 256
MAX_EMBEDDING_SIZE = 3072  # the largest of OpenAI's
MAX_EMBEDDING_INPUTS = 2048  # as OpenAI


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a model, whichever endpoint it came by."""

    model: str
    system: str
    turns: tuple[tuple[str, str], ...]  # role and text, without the system's
    question: str  # the last user message
    stream: bool
    include_usage: bool

    @property
    def digest(self) -> bytes:
        """A hash of all that was said, the same on every endpoint."""
        said = [("system", self.system), *self.turns]
        framed = "".join(f"{role}\x1f{len(text)}\x1f{text}" for role, text in said)
        return hashlib.sha256(_bytes(framed)).digest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; the cached ones are part of the prompt's."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """Texts to embed."""

    model: str
    texts: tuple[str, ...]
    size: int
    as_base64: bool

    @property
    def digest(self) -> bytes:
        """A hash of all the texts."""
        framed = "".join(f"{len(text)}\x1f{text}" for text in self.texts)
        return hashlib.sha256(_bytes(framed)).digest()


def parse(raw: bytes) -> dict[str, Any]:
    """Parse a request body, also with lone surrogates, which strict parsers refuse.

    Raises:
        ApiError: 400; the body is no JSON object with a model name.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = _parse_leniently(raw)
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.")
    if not isinstance(body.get("model"), str):
        raise ApiError(400, "The body must name a model, as a string.", param="model")
    return body


def dump(value: object) -> bytes:
    """Write JSON; a lone surrogate, which UTF-8 cannot hold, is written as an escape."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def chat_ask(body: Mapping[str, Any]) -> Ask:
    """Read a chat completion request.

    Raises:
        ApiError: 400; there is no user message, or more than one choice is asked for.
    """
    if body.get("n") not in {None, 1}:
        raise ApiError(400, "The laboratory gives one choice: n must be 1.", param="n")
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    return _ask(body, "", body.get("messages"), param="messages", include_usage=wants_usage)


def responses_ask(body: Mapping[str, Any]) -> Ask:
    """Read a Responses API request.

    Raises:
        ApiError: 400; there is no user message, or it continues a stored response.
    """
    if body.get("previous_response_id") is not None:
        message = "The laboratory stores no responses to continue."
        raise ApiError(400, message, param="previous_response_id")
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    instructions = body.get("instructions")
    system = instructions if isinstance(instructions, str) else ""
    return _ask(body, system, items, param="input", include_usage=True)


def embedding_ask(body: Mapping[str, Any]) -> EmbeddingAsk:
    """Read an embeddings request; token ids are embedded as their digits.

    Raises:
        ApiError: 400; nothing to embed, or an impossible size or encoding.
    """
    given = body.get("input")
    one = isinstance(given, str) or (
        isinstance(given, list) and bool(given) and all(isinstance(part, int) for part in given)
    )
    inputs = [given] if one else given
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MAX_EMBEDDING_INPUTS:
        message = f"input must be a text or 1 to {MAX_EMBEDDING_INPUTS} of them."
        raise ApiError(400, message, param="input")
    size = EMBEDDING_SIZE if body.get("dimensions") is None else body["dimensions"]
    if not isinstance(size, int) or not 1 <= size <= MAX_EMBEDDING_SIZE:
        message = f"dimensions must be an integer from 1 to {MAX_EMBEDDING_SIZE}."
        raise ApiError(400, message, param="dimensions")
    encoding = body.get("encoding_format") or "float"
    if encoding not in {"float", "base64"}:
        message = "encoding_format must be float or base64."
        raise ApiError(400, message, param="encoding_format")
    texts = tuple(_embeddable(part) for part in inputs)
    return EmbeddingAsk(body["model"], texts, size, encoding == "base64")


def tokens(text: str) -> int:
    """Estimate how many tokens a text has; an empty one has none."""
    return -(-len(_bytes(text)) // BYTES_PER_TOKEN)


def embedding(text: str, size: int) -> list[float]:
    """Hash the words of a text into a unit vector; texts that share words are near."""
    vector = np.zeros(size)
    # The whole text is a feature too, so that no vector is zero and order counts a little.
    for feature in [*re.findall(r"\w+", text.casefold()), f"\x1f{text}"]:
        digest = hashlib.blake2b(_bytes(feature), digest_size=8).digest()
        number = int.from_bytes(digest)
        vector[(number >> 1) % size] += 1 if number & 1 else -1
    length = float(np.linalg.norm(vector))
    if length == 0:  # all features cancelled out
        vector[0], length = 1, 1
    return [float(value) for value in vector / length]


def embeddings_answer(ask: EmbeddingAsk, model: str) -> dict[str, Any]:
    """Shape the answer to an embeddings request."""
    vectors = [embedding(text, ask.size) for text in ask.texts]
    used = sum(tokens(text) for text in ask.texts)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if ask.as_base64 else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def model_object(name: str, created: int) -> dict[str, Any]:
    """Shape one entry of the list of models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "laboratory"}


def _parse_leniently(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "The body is not JSON, or is nested too deeply.") from error


def _ask(
    body: Mapping[str, Any], system: str, items: object, *, param: str, include_usage: bool
) -> Ask:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ApiError(400, f"{param} must be a list of objects.", param=param)
    said = [(str(item.get("role")), _text(item.get("content"))) for item in items]
    instructions = [text for role, text in said if role in {"system", "developer"}]
    turns = tuple(turn for turn in said if turn[0] not in {"system", "developer"})
    asked = [text for role, text in turns if role == "user"]
    if not asked:
        raise ApiError(400, f"{param} must hold a message of the user.", param=param)
    return Ask(
        model=body["model"],
        system="\n".join([system, *instructions] if system else instructions),
        turns=turns,
        question=asked[-1],
        stream=body.get("stream") is True,
        include_usage=include_usage,
    )


def _text(content: object) -> str:
    """Join the text parts of a message; images and sounds are not read."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(part for part in parts if isinstance(part, str))


def _embeddable(part: object) -> str:
    if isinstance(part, str) and part:
        return part
    if isinstance(part, list) and part and all(isinstance(token, int) for token in part):
        return " ".join(str(token) for token in part)
    raise ApiError(400, "input must hold non-empty texts or lists of tokens.", param="input")


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _bytes(text: str) -> bytes:
    """Encode for counting and hashing, where a lone surrogate is a character like any."""
    return text.encode("utf-8", "surrogatepass")
