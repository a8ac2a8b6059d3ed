"""What is known of a stored pair: who is for it, who is against it, and does it count?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A word that a pair stands on.

    Args:
        with_id: A second word that it needs, too, as a rejection needs the one that gave
            the better text; None when it needs none.
        is_current: Neither was superseded.
    """

    feedback_id: int
    with_id: int | None
    kind: str
    source: str
    reviewer: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Votes:
    """How many reviewers say so now; who says it twice is counted once.

    Args:
        against: For the opposite pair.
    """

    for_it: int
    against: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPair:
    """Two answers to one prompt, of which one was preferred.

    Args:
        call_id: Whose exact request is the prompt.
        chosen_model, rejected_model: What wrote the text; None: a person did, or nobody
            knows.
        is_current: One of its grounds is.
    """

    id: int
    project_id: str
    group: str
    origin: str
    call_id: str
    prompt_hash: str
    chosen: str
    rejected: str
    chosen_model: str | None
    rejected_model: str | None
    at: datetime
    is_current: bool
    grounds: Sequence[Ground]
    votes: Votes


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSummary:
    """How much there is to learn from.

    Args:
        pairs: Current ones by origin.
        superseded: Pairs that nobody stands for any more.
        unpaired: Rejected texts for whose prompt there is no better one yet.
        ties: Choices without a preference.
        conflicts: Pairs of which the opposite is current, too; both together are one.
        refused: Words that gave no pair, by the reason.
    """

    pairs: Mapping[str, int]
    superseded: int
    unpaired: int
    ties: int
    conflicts: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Which pairs to list; None does not restrict."""

    project_id: str | None = None
    group: str | None = None
    origin: str | None = None
    is_current: bool | None = None


def votes_of(grounds: Sequence[Ground], opposite: Sequence[Ground]) -> Votes:
    """Count the reviewers for and against."""
    sides = (
        {ground.reviewer for ground in side if ground.is_current}
        for side in (grounds, opposite)
    )
    return Votes(*(len(side) for side in sides))
