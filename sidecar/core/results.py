"""What do an experiment's calls add up to? Counts, shares, sums and percentiles.

Every number here is descriptive; `core.report` puts the inference beside them. What was not
observed is None, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sidecar.core.assignment import BUCKETS


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a duration, in milliseconds, over the calls that have one; None when none has.

    Read off buckets that grow by 4 %: each is within 2 % of the exact one.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """An arm's share as designed and as seen, in [0, 1].

    Args:
        designed: In a total over stages with different shares, their mean weighted by the
            stages' calls. None when no stage knows the arm, or there is no call to weight by.
        of_units: Of the units of all arms, one that a ramp moved counting in each of its
            arms. None when there are none.
        of_calls: Of the calls of all arms. None when there are none.
    """

    designed: float | None
    of_units: float | None
    of_calls: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was measured on some calls.

    Args:
        units: Different units within a stage; a call without a unit of its own counts as
            one, and over all stages a unit counts once in each.
        sticky_units: Those of them that a later call can belong to as well.
        outcomes, labels, verdict_failures, served_by: Calls by outcome, verdict, reason of
            no verdict, and deployment.
        latency_ms: Of all calls, the failed ones included.
        ttft_ms: Time to first token, of streamed calls.
        prompt_tokens: Sum; None when no call tells. The same for the other tokens.
        cost_usd: Sum over the calls of known cost; None when there is none.
        calls_of_unknown_cost: They are left out of `cost_usd`, which is then too low.
    """

    calls: int = 0
    units: int = 0
    sticky_units: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    verdict_failures: Mapping[str, int] = field(default_factory=dict)
    served_by: Mapping[str, int] = field(default_factory=dict)
    latency_ms: Percentiles = field(default_factory=Percentiles)
    ttft_ms: Percentiles = field(default_factory=Percentiles)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    calls_of_unknown_cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult(Summary):
    """One arm, in one stage or in all."""

    arm: str
    share: Shares


@dataclass(frozen=True, slots=True)
class StageDesign:
    """A stretch with constant shares, as it was designed.

    Args:
        share_bp: Basis points by arm.
        started_at: None when no record of the stage is left, but calls are.
        ended_at: None while it lasts.
    """

    stage: int
    share_bp: Mapping[str, int]
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage and its arms, `primary` first."""

    stage: int
    started_at: datetime | None
    ended_at: datetime | None
    arms: Sequence[ArmResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Whether every call that was served is stored; the numbers are of the whole system.

    Args:
        decided: Requests given an arm.
        served: Calls whose end the workers saw.
        journalled: Records the journal took.
        stored: Rows. `quarantined`: lines put aside. `repeated`: records that came twice
            and were stored once.
        waiting: Records in the workers' memory, because the disk refuses.
        lost: Records given up, or in the memory of a worker that died.
        errors: Exceptions of ours that were kept from a client.
        undrained_bytes: Of the journal.
        missing: Served calls that are nowhere to be found yet, or not at all.
        explanation: What `missing` means, in words.
    """

    decided: int
    served: int
    journalled: int
    stored: int
    quarantined: int
    repeated: int
    waiting: int
    lost: int
    errors: int
    undrained_bytes: int
    missing: int
    explanation: str


def designed_share(
    designs: Sequence[StageDesign], arm: str, calls: Mapping[int, int]
) -> float | None:
    """Average an arm's designed share over stages.

    Args:
        calls: Of all arms, by stage.

    Returns:
        The one share where there is one; else the mean weighted by calls, or None when
        there is nothing to weight by, or no stage has the arm.

    Example:
        >>> stages = [StageDesign(1, {"canary": 1000}), StageDesign(2, {"canary": 5000})]
        >>> designed_share(stages, "canary", {1: 300, 2: 100})
        0.2
    """
    shares = {
        design.stage: design.share_bp.get(arm, 0) for design in designs if design.share_bp
    }
    if not any(arm in design.share_bp for design in designs):
        return None
    if len(set(shares.values())) == 1:
        return next(iter(shares.values())) / BUCKETS
    total = sum(calls.get(stage, 0) for stage in shares)
    if total == 0:
        return None
    expected = sum(share * calls.get(stage, 0) for stage, share in shares.items())
    return expected / total / BUCKETS
