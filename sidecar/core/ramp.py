"""How far up its ramp is a canary, and may it take the next step?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.plan import Plan
from sidecar.core.results import StageDesign


@dataclass(frozen=True, slots=True)
class Progress:
    """Where on the ramp an epoch is.

    Args:
        canary_bp: Present share of all canaries together.
        step: Index of the ramp's step of that share; None when it is none of them.
        run_s: Seconds of running time in the epoch.
        step_run_s: The same since the step was entered.
        step_units: Units of a canary since then, the least over the canaries.
    """

    canary_bp: int
    step: int | None
    run_s: float
    step_run_s: float
    step_units: int


def progress(
    plan: Plan,
    designs: Sequence[StageDesign],
    units: Mapping[int, int],
    *,
    now: datetime,
) -> Progress:
    """Find out where on the ramp an epoch is.

    A pause closes a stage and opens another of the same share; they are one step.

    Args:
        designs: The epoch's stages in order; the last is the present one.
        units: Units of a canary by stage, the least over the canaries.
        now: A time before a stage's start, from a clock set back, counts as no time.
    """
    if not designs:
        return Progress(0, None, 0.0, 0.0, 0)
    canary_bp = canary_share_bp(designs[-1])
    shares = [step.share_bp for step in plan.ramp]
    present = _trailing(designs, canary_bp)
    return Progress(
        canary_bp=canary_bp,
        step=shares.index(canary_bp) if canary_bp in shares else None,
        run_s=sum(_seconds(design, now) for design in designs),
        step_run_s=sum(_seconds(design, now) for design in present),
        step_units=sum(units.get(design.stage, 0) for design in present),
    )


def is_step_done(plan: Plan, step: int, *, run_s: float, units: int) -> bool:
    """Tell whether a step's minimum time and units are met."""
    return is_time_met(plan, step, run_s) and units >= plan.ramp[step].min_units


def is_time_met(plan: Plan, step: int, run_s: float) -> bool:
    """Tell whether a step has run for its minimum time."""
    return run_s >= plan.ramp[step].min_time_s


def next_share_bp(plan: Plan, step: int) -> int | None:
    """Return the canaries' share in the next step; None after the last."""
    return plan.ramp[step + 1].share_bp if step + 1 < len(plan.ramp) else None


def promoted_bp(plan: Plan) -> int:
    """Return a promoted canary's share: all but the hold-back."""
    return BUCKETS - plan.holdback.share_bp


def shares_of(plan: Plan, canary_bp: int) -> dict[str, int]:
    """Split a total share evenly over the canaries; the primary has the rest, and is first.

    A point that cannot be split goes to the canary that is named first.
    """
    each, rest = divmod(canary_bp, len(plan.canaries))
    split = {arm: each + (i < rest) for i, arm in enumerate(plan.canaries)}
    return {PRIMARY: BUCKETS - canary_bp, **split}


def canary_share_bp(design: StageDesign) -> int:
    """Add up the shares of a stage's canaries."""
    return sum(bp for arm, bp in design.share_bp.items() if arm != PRIMARY)


def _trailing(designs: Sequence[StageDesign], canary_bp: int) -> list[StageDesign]:
    """Take the latest stages as far back as they have the present share."""
    present: list[StageDesign] = []
    for design in reversed(designs):
        if canary_share_bp(design) != canary_bp:
            break
        present.append(design)
    return present


def _seconds(design: StageDesign, now: datetime) -> float:
    if design.started_at is None:
        return 0.0
    return max(((design.ended_at or now) - design.started_at).total_seconds(), 0.0)
