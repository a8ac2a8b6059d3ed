"""Is a JSON object what it should be? Strict reading of its fields, with helpful refusals.

A message says where, what was found, what was expected and what is possible.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

from sidecar.core.errors import Invalid

_Choice = TypeVar("_Choice", bound=StrEnum)
_SHOWN_CHARS = 80  # of a found value: enough to recognise it, too little to flood a log


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers that a field may hold.

    Args:
        is_open: The lower end itself is not allowed.
        ends_open: The same for the upper end.
    """

    low: float = -math.inf
    high: float = math.inf
    is_open: bool = False
    ends_open: bool = False

    def __contains__(self, value: float) -> bool:
        """Tell whether a number lies within; one that is not finite never does."""
        # Not `isfinite`: a whole number may be larger than any float.
        if not -math.inf < value < math.inf:
            return False
        is_enough = value > self.low if self.is_open else value >= self.low
        return is_enough and (value < self.high if self.ends_open else value <= self.high)

    def __str__(self) -> str:
        """Say it in words."""
        words = []
        if self.low > -math.inf:
            words.append(f"{'above' if self.is_open else 'at least'} {self.low:g}")
        if self.high < math.inf:
            words.append(f"{'below' if self.ends_open else 'at most'} {self.high:g}")
        return " and ".join(words) or "finite"


class Fields:
    """The fields of one JSON object, read one by one.

    Args:
        where: Path of the object in the document, for messages; "plan" at its root.
        known: Every key that the object may have.

    Raises:
        Invalid: It is no object, or has a key that is not known.
    """

    def __init__(self, document: object, *, where: str, known: Sequence[str]) -> None:
        if not isinstance(document, Mapping):
            refuse(where, document, f"an object with {', '.join(known)}")
        unknown = [key for key in document if key not in known]
        if unknown:
            msg = f"{where} has no {shown(unknown[0])}; it can have {', '.join(known)}"
            raise Invalid(msg)
        self._document = document
        self.where = where

    def __contains__(self, key: str) -> bool:
        """Tell whether the key was given, be it with null."""
        return key in self._document

    def path(self, key: str) -> str:
        """Name a field for a message."""
        return f"{self.where}.{key}"

    def get(self, key: str, default: object = None) -> object:
        """Return a value as it was given."""
        return self._document.get(key, default)

    def is_null(self, key: str) -> bool:
        """Tell whether the key was given with null."""
        return key in self._document and self._document[key] is None

    def number(self, key: str, default: float, span: Span) -> float:
        """Read a number.

        Raises:
            Invalid: It is no number, or one outside the span.
        """
        value = self._document.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value not in span:
            refuse(self.path(key), value, f"a number {span}")
        return float(value)

    def integer(self, key: str, default: int, span: Span) -> int:
        """Read a whole number.

        Raises:
            Invalid: It is no whole number, or one outside the span.
        """
        value = self._document.get(key, default)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or value not in span:
            refuse(self.path(key), value, f"a whole number {span}")
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false.

        Raises:
            Invalid: It is neither.
        """
        value = self._document.get(key, default)
        if not isinstance(value, bool):
            refuse(self.path(key), value, "true or false")
        return value

    def choice(self, key: str, default: _Choice) -> _Choice:
        """Read one of an enumeration's words.

        Raises:
            Invalid: It is another word, or none.
        """
        value = self._document.get(key, default)
        found = next((member for member in type(default) if member == value), None)
        if found is None:
            words = ", ".join(repr(str(member)) for member in type(default))
            refuse(self.path(key), value, f"one of {words}")
        return found

    def items(self, key: str) -> Sequence[object]:
        """Read a list.

        Raises:
            Invalid: It is none.
        """
        value = self._document.get(key)
        if not isinstance(value, list | tuple):
            refuse(self.path(key), value, "a list")
        return value


def refuse(path: str, found: object, expected: str) -> NoReturn:
    """Say what was found where, and what was expected.

    Raises:
        Invalid: Always.
    """
    msg = f"{path} is {shown(found)}; expected {expected}"
    raise Invalid(msg)


def shown(value: object) -> str:
    """Write a found value, shortened."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
