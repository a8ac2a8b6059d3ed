"""How is JSON read and written so that nothing changes on the way?

Read by msgspec and written by orjson, the fastest at each, and by the standard library what
they refuse: NaN, the infinities, lone surrogates, and for orjson integers beyond 64 bits.
(orjson does not read here, because it turns such integers into floats.)
"""

import json
import re
from collections.abc import Callable

import msgspec
import orjson

from sidecar.core.errors import Invalid

Encode = Callable[[object], bytes]

# msgspec names what is no JSON a `DecodeError`, and a number beyond a float's range a
# `ValidationError`, which is one; bytes that are no UTF-8 are a `ValueError`.
NOT_READ = (msgspec.DecodeError, ValueError, RecursionError)

_decode = msgspec.json.Decoder().decode
_SURROGATE = re.compile("[\ud800-\udfff]")
# A string, which stays as it is, or a number that Python and orjson spell differently.
_STRING_OR_TINY = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|-?[0-9.]+e-0[1-9]')


def decode(data: bytes) -> tuple[object, Encode]:
    """Read JSON.

    Returns:
        The value, and the encoder that writes it, or any part of it, without a loss.

    Raises:
        Invalid: It is no JSON, or nested too deeply.
    """
    try:
        return _decode(data), encode
    except NOT_READ:
        pass  # it may still be JSON that msgspec alone refuses
    try:
        return json.loads(data), encode_exactly
    except (ValueError, RecursionError) as error:
        msg = f"{len(data)} bytes are no JSON that can be read ({type(error).__name__})"
        raise Invalid(msg) from error


def encode(value: object) -> bytes:
    """Write a value that msgspec has read, as compact UTF-8.

    Raises:
        Invalid: It is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # an integer is too long, or the nesting too deep for it
        return encode_exactly(value)


def encode_exactly(value: object) -> bytes:
    """Write any value that `json.loads` gives, as compact UTF-8.

    The same bytes as `encode` writes, wherever that can write the value at all. A lone
    surrogate is written as its escape; NaN and the infinities as Python spells them.

    Raises:
        Invalid: It is nested too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        msg = "a JSON value is nested too deeply to be written"
        raise Invalid(msg) from error
    text = _STRING_OR_TINY.sub(_as_orjson, text)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _as_orjson(found: re.Match[str]) -> str:
    """Spell a number as orjson does: 1e-7 for Python's 1e-07, 0.00001 for 1e-05."""
    return found[1] or orjson.dumps(float(found[0])).decode()
