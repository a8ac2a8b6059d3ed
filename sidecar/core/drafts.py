"""What has become of a draft, after all that people said of it?

generated -> approved | edited -> sent | rejected
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.core.feedback import DECISIONS, SENT, Feedback, Kind


class State(StrEnum):
    """Where a draft is in its life."""

    GENERATED = "generated"  # nobody has decided
    APPROVED = "approved"
    EDITED = "edited"
    SENT = "sent"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft's state.

    Args:
        final: The text that holds, to be sent or as it was sent; None while nobody has
            decided, after a rejection, and where the model gave no text.
    """

    state: State
    final: str | None


_STATES = {
    Kind.APPROVE: State.APPROVED,
    Kind.EDIT: State.EDITED,
    Kind.REJECT: State.REJECTED,
}


def draft_of(words: Sequence[Feedback], generated: str | None) -> Draft:
    """Read a draft's state out of what is said of it.

    The newest approval, edit or rejection decides, whoever said it. To be sent is the end,
    but for a rejection that comes later; an edit's text is kept when it is sent.

    Args:
        words: All of the call, in any order; those that are not current are passed over.
        generated: What the model wrote.

    Example:
        >>> draft_of([], "Hello")
        Draft(state=<State.GENERATED: 'generated'>, final=None)
    """
    standing = sorted((word for word in words if word.is_current), key=lambda word: word.id)
    decided = [word for word in standing if word.kind in DECISIONS]
    sent = [word for word in standing if (word.kind, word.name) == (Kind.FLAG, SENT)]
    decision = decided[-1] if decided else None
    final = _final(decision, generated)
    if sent and sent[-1].value and not _is_rejected_since(decision, sent[-1]):
        return Draft(State.SENT, generated if decision is None else final)
    return Draft(State.GENERATED if decision is None else _STATES[decision.kind], final)


def _final(decision: Feedback | None, generated: str | None) -> str | None:
    if decision is None or decision.kind is Kind.REJECT:
        return None
    return decision.text if decision.kind is Kind.EDIT else generated


def _is_rejected_since(decision: Feedback | None, sent: Feedback) -> bool:
    return decision is not None and decision.kind is Kind.REJECT and decision.id > sent.id
