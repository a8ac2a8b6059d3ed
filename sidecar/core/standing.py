"""Where does an experiment stand, by the decisions that are in force?"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sidecar.core.readings import TERMINAL, Standing, State


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
        last_look_at: The latest time of any stored look.
        canary_bp: Present share of all canaries; a person who gives them traffic again
            closes the breaker.
    """
    ended = next((d for d in decided if d.state in TERMINAL), None)
    broke = any("circuit_breaker" in d.reasons and d.action for d in decided)
    return Standing(
        latched=None if ended is None else State(ended.state),
        latched_at=None if ended is None else ended.at,
        last_look_at=last_look_at,
        is_broken=broke and canary_bp == 0,
        is_manual=any("undone_by_hand" in d.reasons for d in decided),
    )


def is_told(decided: Sequence[Decided], state: str, reasons: Sequence[str]) -> bool:
    """Tell whether the newest decision says the same already, so that it need not be noted."""
    return bool(decided) and decided[0].state == state and set(decided[0].reasons) == {*reasons}
