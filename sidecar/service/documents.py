"""How is JSON read and written so that nothing changes on the way?

By orjson where it is exact and by the standard library where it is not: orjson turns
integers beyond 64 bits into floats and NaN into null, and refuses lone surrogates.
"""

import json
import re
from collections.abc import Callable
from string import digits

import orjson

from sidecar.core.errors import Invalid

Encode = Callable[[object], bytes]

# A number that 64 bits cannot hold has 19 digits or more, so of every sixth byte three in a
# row are digits. Looking at those first spares most lines the look at every byte.
_AS_ZERO = bytes(ord("0") if chr(byte) in digits else 32 for byte in range(256))
_STEP = 6
_PERHAPS_LONG = b"0" * (19 // _STEP)
_LONG = b"0" * 19

_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes) -> tuple[object, Encode]:
    """Read JSON.

    Returns:
        The value, and the encoder that writes it, or any part of it, without a loss.

    Raises:
        Invalid: It is no JSON, or nested too deeply.
    """
    try:
        if not _has_long_number(data):
            return orjson.loads(data), encode
    except orjson.JSONDecodeError:
        pass  # it may still be JSON that orjson alone refuses
    try:
        return json.loads(data), encode_exactly
    except (ValueError, RecursionError) as error:
        msg = f"{len(data)} bytes are no JSON that can be read ({type(error).__name__})"
        raise Invalid(msg) from error


def encode(value: object) -> bytes:
    """Write a value that `orjson` has read, as compact UTF-8.

    Raises:
        Invalid: It is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than orjson writes, though it reads it
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
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _has_long_number(data: bytes) -> bool:
    """Whether there are 19 digits in a row somewhere, in a number or in a string."""
    if _PERHAPS_LONG not in data[::_STEP].translate(_AS_ZERO):
        return False
    return _LONG in data.translate(_AS_ZERO)
