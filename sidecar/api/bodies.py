"""What may a client send, and in which form is it answered?

Types that refuse what could not be stored or shown.
"""

import re
from typing import Annotated, Any

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MAX_LINE_CHARS = 300
MAX_PROSE_CHARS = 4_000


def _storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        msg = "the text holds a NUL or half of a surrogate pair"
        raise ValueError(msg)
    return text


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        msg = "the text holds a control character"
        raise ValueError(msg)
    return _storable(text)


Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LINE_CHARS, strip_whitespace=True),
    AfterValidator(_one_line),
]
"""A name, an id, an address: one line."""

Prose = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_PROSE_CHARS), AfterValidator(_storable)
]
"""A hypothesis, a reason: any text of a reasonable length."""

UnitText = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
"""A unit id as a client may send it to the proxy; it is hashed when it cannot be stored."""

Share = Annotated[float, Field(strict=True)]  # true is no share

Limit = Annotated[int, Query(ge=1, le=500, description="At most so many items.")]


def to_json(value: object) -> dict[str, Any]:
    """Give a dataclass as FastAPI would answer it, as JSON values."""
    shown: dict[str, Any] = TypeAdapter(type(value)).dump_python(value, mode="json")
    return shown


class Body(BaseModel):
    """A request's body: unknown fields are mistakes, and said to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Because(Body):
    """Why something is done; it goes into the audit."""

    reason: Prose | None = None
