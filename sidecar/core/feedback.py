"""What did a person, or a declared judge, say of a call? One word of a known kind.

What a reviewer says again supersedes what the same reviewer said before; nothing is deleted.
Only audits of drawn calls are ever tested, and of these only what the reviewer who came
first says now: a second reviewer is kept, but cannot move a metric.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.core.errors import Invalid
from sidecar.core.facts import MICRO

LABEL = "label"
APPROVED = "approved"
COMMENT = "comment"
SENT = "sent"  # the flag that says of a draft that it has left the house
MAX_VALUE = 1e6  # a score beyond it is in the wrong unit
MAX_TEXT_BYTES = 1_000_000  # in UTF-8; more is no answer but a file

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_OURS = re.compile(rf"{LABEL}|{COMMENT}|(choice|pair)\..*")  # names that other kinds bear
_SURROGATE = re.compile("[\ud800-\udfff]")


class Source(StrEnum):
    """How it came about that somebody said something."""

    AUDIT = "audit"  # the call was drawn: its label speaks for others
    CORRECTION = "correction"  # unasked: a selected sample, counted but never tested
    JUDGE = "judge"  # a declared model's word
    REVIEW = "review"  # asked by the review queue, not drawn: as selected a sample


class Kind(StrEnum):
    """What kind of thing is said."""

    LABEL = "label"  # what a judge should have answered
    APPROVE = "approve"  # the text is good as it is
    EDIT = "edit"  # it is good as changed
    REJECT = "reject"  # it is not; perhaps another text is
    SCORE = "score"  # a number by a name
    FLAG = "flag"  # a boolean by a name
    COMMENT = "comment"
    CHOICE = "choice"  # one of two calls' answers to one prompt is the better one
    PAIR = "pair"  # two texts for the call's prompt, the better one first


DECISIONS = (Kind.APPROVE, Kind.EDIT, Kind.REJECT)
# What totals are made of. The others compare texts, or are prose.
COUNTED = (Kind.LABEL, *DECISIONS, Kind.SCORE, Kind.FLAG)


@dataclass(frozen=True, slots=True)
class Word:
    """What is said.

    Args:
        name: What a later word of the same name supersedes: `label`, `approved` for the
            kinds of `DECISIONS`, or what a value is of.
        label: Of the kind `label` only.
        value: In millionths, 0 or 1,000,000 for a boolean. Of a choice: 1,000,000 when the
            call it is kept with has the better answer, 500,000 for a tie.
        text: Of an edit the final text, of a rejection a better one, of a pair the chosen.
        rejected: Of a pair.
        other_call_id: Of a choice.
    """

    kind: Kind
    name: str
    label: str | None = None
    value: int | None = None
    is_boolean: bool = False
    text: str | None = None
    rejected: str | None = None
    other_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One word of one reviewer on one call.

    Args:
        name, text, rejected, other_call_id: As a `Word` has them.
        value: None with a label or a comment. Of a choice: 1 when `call_id` has the better
            answer, 0 when `other_call_id` has, 0.5 for a tie.
        key: The client's own, by which the same word sent again is known.
        is_current: The reviewer has not said otherwise since.
        supersedes: Id of what the same reviewer said before; None for a first word.
        actor: Whose key it came with.
    """

    id: int
    call_id: str
    kind: Kind
    name: str
    source: Source
    reviewer: str
    label: str | None
    value: float | bool | None
    text: str | None
    rejected: str | None
    other_call_id: str | None
    comment: str | None
    key: str | None
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
    return Word(Kind.LABEL, LABEL, label=found)


def approval_word(*, approved: bool, better: str | None = None) -> Word:
    """Read an approval, or a rejection with or without a better text.

    Raises:
        Invalid: What is approved has a better text, or that text cannot be kept.
    """
    if approved and better is not None:
        msg = "what is approved has no better text; send it as edit, or approved: false"
        raise Invalid(msg)
    kind = Kind.APPROVE if approved else Kind.REJECT
    text = None if better is None else kept_text("better", better)
    return Word(kind, APPROVED, value=MICRO * approved, is_boolean=True, text=text)


def edit_word(final: str, generated: str | None) -> Word:
    """Read an edit, which says of the text that it was not good as it was.

    Args:
        generated: The text that was edited; None when there was none.

    Raises:
        Invalid: Nothing was changed, or the text cannot be kept.
    """
    text = kept_text("edit", final)
    if text == generated:
        msg = "the edit is equal to the text it edits; send approved: true"
        raise Invalid(msg)
    return Word(Kind.EDIT, APPROVED, value=0, is_boolean=True, text=text)


def value_word(name: str, value: object) -> Word:
    """Read a named value.

    Args:
        value: A boolean, or a number of at most `MAX_VALUE` either way; kept to 1e-6.

    Raises:
        Invalid: The name is no plain word or has another meaning, or the value is of
            another type.

    Example:
        >>> value_word("sent", True).kind
        <Kind.FLAG: 'flag'>
    """
    if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
        msg = (
            "a value's name is a lower-case letter followed by letters, digits, '_', '.' or "
            "'-', at most 63 in all, not 'label' or 'comment', and begins neither with "
            f"'choice.' nor with 'pair.'; found {name[:80]!r}"
        )
        raise Invalid(msg)
    if name == APPROVED:
        if isinstance(value, bool):
            return approval_word(approved=value)
        msg = f"approved must be true or false, found {_shown(value)}"
        raise Invalid(msg)
    if isinstance(value, bool):
        return Word(Kind.FLAG, name, value=MICRO * value, is_boolean=True)
    if name == SENT:  # as a score it would be kept, and the draft not sent
        msg = f"{SENT} must be true or false, found {_shown(value)}"
        raise Invalid(msg)
    if not isinstance(value, int | float):
        msg = f"{name} must be true, false or a number, found {_shown(value)}"
        raise Invalid(msg)
    # Never made a float before: an integer may be too long for one.
    if not -MAX_VALUE <= value <= MAX_VALUE:
        msg = f"{name} must be a number within {MAX_VALUE:g} of 0, found {_shown(value)}"
        raise Invalid(msg)
    return Word(Kind.SCORE, name, value=round(value * MICRO))


def comment_word() -> Word:
    """Make the word that is only a comment."""
    return Word(Kind.COMMENT, COMMENT)


def choice_word(call_id: str, other: str, *, is_tie: bool) -> tuple[str, Word]:
    """Read that a call's answer is better than another's, or that neither is.

    Kept with the call that comes first, whichever was named first, so that a reviewer who
    turns round supersedes the own word.

    Returns:
        The id of the call it is kept with, and the word.

    Raises:
        Invalid: Both calls are one.

    Example:
        >>> choice_word("b", "a", is_tie=False)[1].value
        0
    """
    if call_id == other:
        msg = f"call {call_id} cannot be compared with itself; name another call"
        raise Invalid(msg)
    first, second = sorted((call_id, other))
    value = MICRO // 2 if is_tie else MICRO * (first == call_id)
    name = f"{Kind.CHOICE}.{second}"
    return first, Word(Kind.CHOICE, name, value=value, other_call_id=second)


def pair_word(chosen: str, rejected: str) -> Word:
    """Read two texts for the call's prompt, of which the first is the better one.

    Raises:
        Invalid: One of them cannot be kept.
    """
    texts = kept_text("chosen", chosen), kept_text("rejected", rejected)
    # Neither holds a NUL, so this is never the same for two different pairs.
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    return Word(Kind.PAIR, f"{Kind.PAIR}.{digest[:16]}", text=texts[0], rejected=texts[1])


def kept_text(what: str, text: str) -> str:
    """Check a text that is to be kept as it is.

    Args:
        what: How the text is called in the message, which leaves the text itself out.

    Raises:
        Invalid: It is blank, holds a NUL or half of a surrogate pair, or takes more than
            `MAX_TEXT_BYTES` in UTF-8.
    """
    if "\0" in text or _SURROGATE.search(text):
        msg = f"{what} holds a NUL or half of a surrogate pair, which no text may"
        raise Invalid(msg)
    if not text.strip():
        msg = f"{what} is blank; a text must have something to read"
        raise Invalid(msg)
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        msg = f"{what} has {size:,} bytes in UTF-8; at most {MAX_TEXT_BYTES:,} are kept"
        raise Invalid(msg)
    return text


def shown_value(value: int | None, *, is_boolean: bool) -> float | bool | None:
    """Give a stored value as it was said."""
    if value is None:
        return None
    return bool(value) if is_boolean else value / MICRO


def _shown(value: object) -> str:
    return repr(value)[:40] if isinstance(value, int | float) else f"a {type(value).__name__}"
