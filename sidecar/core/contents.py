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

Seen = dict[tuple[int, str, str], tuple[str, bytes, bytes]]
"""Texts with their encoding and its SHA-256, by their length, beginning and end."""

SHARED_BYTES = 200  # a reference takes 78 bytes, its row in `contents` some 100 more
UNIQUE_BYTES = 4_000  # what is probably said once is better off in its own row
DEEPEST = 200  # a body nested more deeply is kept whole; real ones have some ten levels
# Where callers put what they send with every call. Elsewhere, content is taken as unique.
SHARED_KEYS = frozenset(
    {"system", "instructions", "tools", "functions", "response_format", "text", "prompt"}
)
SHARED_ROLES = frozenset({"system", "developer"})

_SEEN = 64  # texts remembered at once; what comes again comes soon
_GLANCE = 32  # characters of a text's beginning, and of its end
_LONGEST_CHARACTER = 6  # bytes: a control character as its escape; a pair adds no more
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


def split(body: Mapping[str, object], encode: Encode, seen: Seen | None = None) -> Stored:
    """Take the large values out of a body, which itself stays as it is.

    Args:
        body: Any JSON object.
        encode: The same encoder for every body, or equal parts will not meet.
        seen: Remembers the prompts of bodies that are split one after the other, so that
            one that comes again is not encoded and hashed again.
    """
    splitter = _Splitter(encode, {} if seen is None else seen)
    try:
        small = splitter.shrink_body(body)
    except RecursionError:
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
    """Replaces what is large, and counts the references it makes.

    What holds nothing large is handed back as it is, and only what does is copied.
    """

    __slots__ = ("encode", "parts", "references", "seen")

    def __init__(self, encode: Encode, seen: Seen) -> None:
        self.encode = encode
        self.seen = seen
        self.parts: dict[bytes, bytes] = {}
        self.references = 0

    def shrink_body(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """Return the body with references in it; each key says what is long there."""
        changed: dict[str, object] | None = None
        for key, value in body.items():
            if isinstance(value, str) and len(value) < SHARED_BYTES:
                continue
            limit = SHARED_BYTES if key in SHARED_KEYS else UNIQUE_BYTES
            small = self.shrink(value, limit, 1)
            if small is not value:
                changed = changed or dict(body)
                changed[key] = small
        return changed or body

    def shrink(self, value: object, limit: int, depth: int) -> object:
        """Return the value, or what stands for it when it is longer than `limit` bytes.

        Raises:
            RecursionError: It is nested more deeply than we look.
        """
        if isinstance(value, dict):
            return self.shrink_object(value, limit, depth)
        if isinstance(value, str):
            # A character is one byte or more: what is long in characters is in bytes.
            return self.text(value, limit) if len(value) >= limit else value
        if isinstance(value, list):
            return self.shrink_list(value, limit, depth)
        return value

    def shrink_list(self, items: list[object], limit: int, depth: int) -> list[object]:
        """Look into each item of a list; the list itself is never a part."""
        if depth > DEEPEST:
            raise RecursionError
        changed: list[object] | None = None
        for place, item in enumerate(items):
            small = self.shrink(item, limit, depth + 1)
            if small is not item:
                changed = changed or list(items)
                changed[place] = small
        return changed or items

    def shrink_object(self, value: dict[str, object], limit: int, depth: int) -> object:
        """Look into an object that has something to find; take another as a whole."""
        if depth > DEEPEST:
            raise RecursionError
        role = value.get("role")
        if isinstance(role, str) and role in SHARED_ROLES:
            limit = SHARED_BYTES
        at_most = _at_most(value, limit)
        if at_most is None:
            return self.shrink_values(value, limit, depth)
        if at_most < limit:
            return value
        encoded = self.encode(value)
        return self.part(encoded) if len(encoded) >= limit else value

    def shrink_values(self, value: dict[str, object], limit: int, depth: int) -> object:
        """Look into each value of an object."""
        changed: dict[str, object] | None = None
        for key, item in value.items():
            if isinstance(item, str) and len(item) < limit:
                continue
            small = self.shrink(item, limit, depth + 1)
            if small is not item:
                changed = changed or dict(value)
                changed[key] = small
        return changed or value

    def text(self, value: str, limit: int) -> dict[str, str]:
        """Keep a long text and return a reference to it."""
        if limit > SHARED_BYTES:  # said once: not worth remembering
            return self.part(self.encode(value))
        # To compare two texts is quicker by far than to hash one.
        glance = (len(value), value[:_GLANCE], value[-_GLANCE:])
        found = self.seen.get(glance)
        if found is None or found[0] != value:
            if len(self.seen) >= _SEEN:
                self.seen.clear()
            encoded = self.encode(value)
            found = value, encoded, hashlib.sha256(encoded).digest()
            self.seen[glance] = found
        return self.refer(found[2], found[1])

    def part(self, encoded: bytes) -> dict[str, str]:
        """Keep an encoded value and return a reference to it."""
        return self.refer(hashlib.sha256(encoded).digest(), encoded)

    def refer(self, digest: bytes, encoded: bytes) -> dict[str, str]:
        """Keep an encoded value of known hash and return a reference to it."""
        self.parts[digest] = encoded
        self.references += 1
        return {_KEY: digest.hex()}


def _at_most(value: dict[str, object], limit: int) -> int | None:
    """Give a size in bytes that an object's encoding does not exceed.

    Most messages are short texts alone, and encoding them only to learn that takes longer.

    Returns:
        The bound, `limit` or more when that is all that can be said at a glance. None when
        the object has a list, which is always looked into, or a long text.
    """
    characters = 1  # for the braces
    for key, inner in value.items():
        if isinstance(inner, str):
            length = len(inner)
            if length >= limit:
                return None
            characters += len(key) + length + 1
        elif isinstance(inner, list):
            return None
        else:
            characters += limit
    return characters * _LONGEST_CHARACTER
