"""What did a person, or a declared judge, say of a call? A label, or a named value.

What a reviewer says again supersedes what the same reviewer said before; nothing is deleted.
Only audits of drawn calls are ever tested, and of these only what the reviewer who came
first says now: a second reviewer is kept, but cannot move a metric.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.core.errors import Invalid
from sidecar.core.facts import MICRO

LABEL = "label"
APPROVED = "approved"
MAX_VALUE = 1e6  # a score beyond it is in the wrong unit

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


class Source(StrEnum):
    """How it came about that somebody said something."""

    AUDIT = "audit"  # the call was drawn: its label speaks for others
    CORRECTION = "correction"  # unasked: a selected sample, counted but never tested
    JUDGE = "judge"  # a declared model's word


@dataclass(frozen=True, slots=True)
class Word:
    """What is said: a label, or a value.

    Args:
        name: `label` for a label; else what the value is of, such as `approved`.
        label: None with a value.
        value: In millionths, 0 or 1,000,000 for a boolean; None with a label.
    """

    name: str
    label: str | None = None
    value: int | None = None
    is_boolean: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One word of one reviewer on one call.

    Args:
        value: None with a label.
        is_current: The reviewer has not said otherwise since.
        supersedes: Id of what the same reviewer said before; None for a first word.
        actor: Whose key it came with.
    """

    id: int
    call_id: str
    name: str
    source: Source
    reviewer: str
    label: str | None
    value: float | bool | None
    comment: str | None
    at: datetime
    actor: str
    is_current: bool
    supersedes: int | None


def label_word(label: str, labels: Sequence[str]) -> Word:
    """Read a label.

    Args:
        labels: What the judge could answer; empty for a call that is no judge's. Compared
            without regard to case and surrounding white space, kept as spelled here.

    Raises:
        Invalid: It is none of them.

    Example:
        >>> label_word(" Maybe", ["relevant", "maybe"]).label
        'maybe'
    """
    if not labels:
        msg = "the call is no judge's, so it takes no label; give it approved, or a value"
        raise Invalid(msg)
    known = {each.strip().casefold(): each for each in labels}
    found = label if label in labels else known.get(label.strip().casefold())
    if found is None:
        msg = f"label {label[:80]!r} is none of the call's: {', '.join(labels)}"
        raise Invalid(msg)
    return Word(LABEL, label=found)


def value_word(name: str, value: object) -> Word:
    """Read a named value.

    Args:
        value: A boolean, or a number of at most `MAX_VALUE` either way; kept to 1e-6.

    Raises:
        Invalid: The name is no plain word or `label`, or the value is of another type.

    Example:
        >>> value_word("approved", True)
        Word(name='approved', label=None, value=1000000, is_boolean=True)
    """
    if not _NAME.fullmatch(name) or name == LABEL:
        msg = (
            "a value's name is a lower-case letter followed by letters, digits, '_', '.' or "
            f"'-', at most 63 in all, and not 'label'; found {name[:80]!r}"
        )
        raise Invalid(msg)
    if isinstance(value, bool):
        return Word(name, value=MICRO * value, is_boolean=True)
    if name == APPROVED:
        msg = f"approved must be true or false, found {_shown(value)}"
        raise Invalid(msg)
    if not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"{name} must be true, false or a number, found {_shown(value)}"
        raise Invalid(msg)
    if abs(value) > MAX_VALUE:
        msg = f"{name} must be within {MAX_VALUE:g} of 0, found {value:g}"
        raise Invalid(msg)
    return Word(name, value=round(value * MICRO))


def shown_value(value: int | None, *, is_boolean: bool) -> float | bool | None:
    """Give a stored value as it was said."""
    if value is None:
        return None
    return bool(value) if is_boolean else value / MICRO


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
