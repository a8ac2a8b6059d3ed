"""How is a request kept whole, and a prompt that comes again and again kept once?

The large values of a body are taken out and replaced by their SHA-256. What is left, the
skeleton, is small; the parts are stored under their hashes, each once. Putting the parts
back gives the body as it was, to the byte of its encoding.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidecar.core.errors import NotFound

Encode = Callable[[object], bytes]
"""A JSON encoder: no white space after `:` and `,`, UTF-8, exact."""

SHARED_BYTES = 200  # a reference takes 78 bytes, its row in `contents` some 100 more
UNIQUE_BYTES = 4_000  # what is probably said once is better off in its own row
# Where callers put what they send with every call. Elsewhere, content is taken as unique.
SHARED_KEYS = frozenset(
    {"system", "instructions", "tools", "functions", "response_format", "text", "prompt"}
)
SHARED_ROLES = frozenset({"system", "developer"})

_KEY = "$content"
# Within a JSON string the quotes would be escaped, so this can only be an object's start.
_MARK = f'{{"{_KEY}":"'.encode()
_REFERENCE = re.compile(rb'\{"\$content":"([0-9a-f]{64})"\}')


@dataclass(frozen=True, slots=True)
class Stored:
    """A body in the form in which it is stored.

    Args:
        skeleton: JSON, with a reference in place of each part.
        parts: Encoded JSON values by their SHA-256.
    """

    skeleton: bytes
    parts: dict[bytes, bytes]

    @property
    def digest(self) -> bytes:
        """SHA-256 that equal bodies share: the skeleton names its parts by theirs."""
        return hashlib.sha256(self.skeleton).digest()


def split(body: Mapping[str, object], encode: Encode) -> Stored:
    """Take the large values out of a body.

    Args:
        body: Any JSON object.
        encode: The same encoder for every body, or equal parts will not meet.
    """
    splitter = _Splitter(encode)
    try:
        small = {
            key: splitter.shrink(value, SHARED_BYTES if key in SHARED_KEYS else UNIQUE_BYTES)
            for key, value in body.items()
        }
    except RecursionError:  # an encoder goes deeper than we do
        return _as_one(encode(body))
    skeleton = encode(small)
    # The client's own body may have an object that looks like a reference of ours; only
    # what is inside a part is safe from being taken for one.
    if skeleton.count(_MARK) != splitter.references:
        return _as_one(encode(body))
    return Stored(skeleton, splitter.parts)


def references(skeleton: bytes) -> list[bytes]:
    """List the hashes of the parts that a skeleton needs."""
    return [bytes.fromhex(found.decode()) for found in _REFERENCE.findall(skeleton)]


def join(skeleton: bytes, parts: Mapping[bytes, bytes]) -> bytes:
    """Put the parts back: the inverse of `split`.

    Returns:
        The body's encoding.

    Raises:
        NotFound: A part is missing.
    """

    def part(found: re.Match[bytes]) -> bytes:
        digest = bytes.fromhex(found.group(1).decode())
        if digest not in parts:
            msg = f"a part of the request is gone: no content of SHA-256 {digest.hex()}"
            raise NotFound(msg)
        return parts[digest]

    return _REFERENCE.sub(part, skeleton)


def _as_one(whole: bytes) -> Stored:
    """Store an encoded body as a single part."""
    digest = hashlib.sha256(whole).digest()
    return Stored(b'%s%s"}' % (_MARK, digest.hex().encode()), {digest: whole})


class _Splitter:
    """Replaces what is large, and counts the references it makes."""

    __slots__ = ("encode", "parts", "references")

    def __init__(self, encode: Encode) -> None:
        self.encode = encode
        self.parts: dict[bytes, bytes] = {}
        self.references = 0

    def shrink(self, value: object, limit: int) -> object:
        """Return the value, or what stands for it when it is longer than `limit` bytes."""
        if isinstance(value, str):
            # A character is one byte or more: what is long in characters is in bytes.
            return self.part(self.encode(value)) if len(value) >= limit else value
        if isinstance(value, list):
            return [self.shrink(item, limit) for item in value]
        if isinstance(value, dict):
            return self.shrink_object(value, limit)
        return value

    def shrink_object(self, value: dict[str, object], limit: int) -> object:
        """Look into an object that has something to find; take another as a whole."""
        role = value.get("role")
        if isinstance(role, str) and role in SHARED_ROLES:
            limit = SHARED_BYTES
        for inner in value.values():
            if isinstance(inner, list) or (isinstance(inner, str) and len(inner) >= limit):
                return {key: self.shrink(item, limit) for key, item in value.items()}
        encoded = self.encode(value)
        return self.part(encoded) if len(encoded) >= limit else value

    def part(self, encoded: bytes) -> dict[str, str]:
        """Keep an encoded value and return a reference to it."""
        digest = hashlib.sha256(encoded).digest()
        self.parts[digest] = encoded
        self.references += 1
        return {_KEY: digest.hex()}
