"""Where does an experiment stand, by the decisions that are in force?"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sidecar.core.readings import TERMINAL, Standing, State

BY_HAND, UNDONE = "by_hand", "undone_by_hand"  # reasons that a person gives


class Decided(Protocol):
    """A decision as it was stored."""

    @property
    def state(self) -> str:
        """The state it led to."""

    @property
    def reasons(self) -> Sequence[str]:
        """Why, machine-readable."""

    @property
    def at(self) -> datetime:
        """When."""

    @property
    def action(self) -> Mapping[str, object]:
        """What was done; empty when nothing was."""


def standing_of(
    decided: Sequence[Decided], *, last_look_at: datetime | None, canary_bp: int
) -> Standing:
    """Read what one look hands to the next off the stored decisions.

    Args:
        decided: Of the epoch, those not undone, newest first.
        last_look_at: When the newest stored look was taken.
        canary_bp: Present share of all canaries; a person who gives them traffic again
            closes the breaker.
    """
    ended = next((d for d in decided if d.state in TERMINAL), None)
    return Standing(
        latched=None if ended is None else State(ended.state),
        latched_at=None if ended is None else ended.at,
        last_look_at=last_look_at,
        is_broken=canary_bp == 0 and any(_is_break(d) for d in decided),
        is_manual=_last_word(decided) == UNDONE,
        is_carried_out=ended is not None and any(_carries_out(d, ended) for d in decided),
    )


def _is_break(decision: Decided) -> bool:
    return "circuit_breaker" in decision.reasons and bool(decision.action)


def _carries_out(decision: Decided, ended: Decided) -> bool:
    return decision.state == ended.state and bool(decision.action)


def _last_word(decided: Sequence[Decided]) -> str | None:
    """Say which was the newest word of a person's, for the newest one counts."""
    reasons = (reason for d in decided for reason in d.reasons)
    return next((reason for reason in reasons if reason in (BY_HAND, UNDONE)), None)


def is_told(decided: Sequence[Decided], state: str, reasons: Sequence[str]) -> bool:
    """Tell whether the newest decision says the same already, so that it need not be noted."""
    return bool(decided) and decided[0].state == state and set(decided[0].reasons) == {*reasons}
