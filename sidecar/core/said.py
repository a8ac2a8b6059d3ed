"""What does somebody mean to say of a call? What was sent, read as one word."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.errors import Invalid
from sidecar.core.feedback import (
    Source,
    Word,
    approval_word,
    comment_word,
    edit_word,
    label_word,
    pair_word,
    value_word,
)

_FORMS = ("label", "approved", "edit", "over", "tie_with", "pair")
COMPARISONS = ("over", "tie_with")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What somebody says of a call, as it was sent: exactly one thing, or a comment alone.

    Args:
        call_id, response_id: One of them: our id, or the one the client saw in the answer.
        reviewer: A person's name, or a declared judge's.
        better: Goes with `approved=False`.
        name, value: Go together.
        over, tie_with: Id of another call with the same prompt.
        pair: The chosen text and the rejected one.
        key: Of the client's making; the same one means that the word is sent once more.
    """

    source: Source
    reviewer: str
    call_id: str | None = None
    response_id: str | None = None
    label: str | None = None
    approved: bool | None = None
    better: str | None = None
    edit: str | None = None
    name: str | None = None
    value: float | bool | None = None
    over: str | None = None
    tie_with: str | None = None
    pair: tuple[str, str] | None = None
    comment: str | None = None
    key: str | None = None


def form_of(said: Said) -> str:
    """Say which one of the things that can be said is said, by the field that says it.

    Raises:
        Invalid: None is, or several are; a blank comment says nothing.
    """
    found = [name for name in _FORMS if getattr(said, name) is not None]
    is_named, is_valued = said.name is not None, said.value is not None
    if is_named or is_valued:
        found.append("name and value")
    if said.better is not None and said.approved is None:
        found.append("better")
    if not found and said.comment is not None and said.comment.strip():
        return "comment"
    if len(found) != 1 or is_named != is_valued or found == ["better"]:
        msg = (
            "give a label, or approved (with false perhaps a better text), or edit, or a name "
            "and value, or over, or tie_with, or pair, or a comment alone: exactly one; "
            f"found {', '.join(found) or 'none'}"
        )
        raise Invalid(msg)
    return found[0]


def word_of(said: Said, form: str, labels: Sequence[str], generated: str | None) -> Word:
    """Read what is said of one call alone.

    Args:
        form: As `form_of` gives it; none of `COMPARISONS`.
        labels: What the call's judge could answer; empty for a call that is no judge's.
        generated: What the model wrote; looked at with an edit only.

    Raises:
        Invalid: It cannot be said.
    """
    if form == "label":
        return label_word(str(said.label), labels)
    if form == "approved":
        return approval_word(approved=bool(said.approved), better=said.better)
    if form == "edit":
        return edit_word(str(said.edit), generated)
    if form == "name and value":
        return value_word(str(said.name), said.value)
    return comment_word() if said.pair is None else pair_word(*said.pair)
