"""What do an epoch's totals say, and what does a look read from them?"""

import math
from collections.abc import Sequence
from datetime import datetime

from sidecar.core.audited import labelled
from sidecar.core.findings import (
    Analysis,
    Ends,
    GoalFinding,
    Method,
    Planning,
)
from sidecar.core.goal import goal_finding, spending_of
from sidecar.core.guards import guardrail_finding, label_shift
from sidecar.core.pairing import EMPTY, Cells, Pairing, pairings
from sidecar.core.plan import Kind, Plan
from sidecar.core.ramp import Progress
from sidecar.core.readings import GoalReading, GuardrailReading, Readings
from sidecar.core.results import StageDesign
from sidecar.core.stats.power import (
    Look,
    Planned,
    Reading,
    eta_s,
    information_multiple,
    labels_needed,
    rate_variance,
)
from sidecar.core.stats.sequential import Interval
from sidecar.core.validity import validity


def analyse(
    plan: Plan, designs: Sequence[StageDesign], cells: Cells, *, now: datetime
) -> Analysis:
    """Analyse one epoch: each canary against the primary, stage by stage.

    Args:
        designs: The epoch's stages, in order.
        cells: Totals by stage and assigned arm; a missing cell is an empty one.
        now: For the rate at which labels come; nothing else depends on it.
    """
    checked = validity(plan, designs, cells)
    pairs = {canary: pairings(designs, cells, canary) for canary in plan.canaries}
    trusted = {found.arm: found.is_valid for found in checked.audit_return}
    goals = tuple(
        goal_finding(plan, pairs[canary], canary, is_valid=trusted[canary])
        for canary in plan.canaries
    )
    rate = _labels_per_s(plan, designs, cells, now)
    return Analysis(
        goals=goals,
        guardrails=tuple(
            guardrail_finding(plan, guardrail, pairs[canary], canary)
            for canary in plan.canaries
            for guardrail in plan.guardrails
        ),
        label_shift=tuple(
            label_shift(pairs[canary], canary, plan.alpha)
            for canary in plan.canaries
            if plan.labels
        ),
        validity=checked,
        planning=tuple(_planning(plan, goal, pairs[goal.arm], rate) for goal in goals),
        method=_method(plan),
        labelled=sum(labelled(cell, plan.goal) for cell in cells.values()),
    )


def readings_of(
    analysis: Analysis,
    progress: Progress,
    *,
    canary: str,
    at: datetime,
    data_age_s: float | None,
) -> Readings:
    """Take from an analysis what a decision about one canary goes by.

    Args:
        data_age_s: Seconds since the newest stored call; None when there is none.
    """
    goal = next(found for found in analysis.goals if found.arm == canary)
    planning = next(found for found in analysis.planning if found.arm == canary)
    returned = next(a for a in analysis.validity.audit_return if a.arm == canary)
    return Readings(
        at=at,
        goal=GoalReading(
            estimate=goal.estimate,
            interval=_interval(goal.interval),
            at_horizon=_interval(goal.horizon_interval),
            is_valid=returned.is_valid,
            labels_missing=planning.labels_missing,
            eta_s=planning.eta_s,
        ),
        guardrails=tuple(
            GuardrailReading(found.name, found.log_e)
            for found in analysis.guardrails
            if found.arm == canary and found.log_e is not None
        ),
        srm_log_e=analysis.validity.srm.log_e,
        multi_arm_share=analysis.validity.multi_arm_share or 0.0,
        labelled=analysis.labelled,
        data_age_s=data_age_s,
        run_s=progress.run_s,
        step=progress.step,
        step_run_s=progress.step_run_s,
        step_units=progress.step_units,
        canary_bp=progress.canary_bp,
    )


def units_by_stage(plan: Plan, designs: Sequence[StageDesign], cells: Cells) -> dict[int, int]:
    """Count a canary's units by stage, the least over the canaries: what a ramp waits for."""
    return {
        design.stage: min(
            cells.get((design.stage, canary), EMPTY).count("units") for canary in plan.canaries
        )
        for design in designs
    }


def _planning(
    plan: Plan, goal: GoalFinding, pairs: Sequence[Pairing], labels_per_s: float | None
) -> Planning:
    """Project what is still needed."""
    needed = _needed(plan, goal, pairs)
    have = (goal.labelled.primary or 0) + (goal.labelled.canary or 0)
    missing: float | None = None if needed is None else max(needed - have, 0.0)
    if goal.estimate is not None and goal.se is not None:
        alpha = spending_of(plan).alpha_sequential
        reading = Reading(goal.estimate, goal.se, goal.tau, alpha)
        multiple = information_multiple(reading, goal.margin)
        missing = None if multiple is None else (multiple - 1) * have
    wait = None if missing is None else eta_s(missing, labels_per_s or 0.0)
    whole = None if missing is None or not math.isfinite(missing) else math.ceil(missing)
    return Planning(goal.arm, goal.tau, needed, whole, wait)


def _needed(plan: Plan, goal: GoalFinding, pairs: Sequence[Pairing]) -> int | None:
    """Labels for a decision in four of five experiments; None until a rate is known.

    The share reckoned with is the present stage's: that is how labels come from now on.
    """
    rate = goal.primary_unstratified
    if plan.goal.kind is not Kind.BOOLEAN or rate is None or not pairs:
        return None
    variance = rate_variance(min(max(rate, 0.0), 1.0))
    if variance == 0:
        return None
    planned = Planned(
        variance_primary=variance,
        variance_canary=variance,
        share=pairs[-1].share,
        alpha=plan.alpha / len(plan.canaries),
        look=Look.HYBRID if plan.horizon_look else Look.ALWAYS,
    )
    return labels_needed(planned, plan.goal.effect)


def _labels_per_s(
    plan: Plan, designs: Sequence[StageDesign], cells: Cells, now: datetime
) -> float | None:
    """Rate of new labels over the epoch's running time; None before any time has passed."""
    seconds = sum(
        max(((design.ended_at or now) - design.started_at).total_seconds(), 0.0)
        for design in designs
        if design.started_at is not None
    )
    count = sum(labelled(cell, plan.goal) for cell in cells.values())
    return count / seconds if seconds > 0 else None


def _method(plan: Plan) -> Method:
    spending = spending_of(plan)
    return Method(
        alpha=plan.alpha,
        alpha_sequential=spending.alpha_sequential,
        alpha_at_horizon=spending.alpha_at_horizon,
        guardrail_alpha_total=plan.guardrail_alpha,
        false_promote_bound=plan.alpha / 2,
        false_rollback_bound=plan.guardrail_alpha,
    )


def _interval(ends: Ends | None) -> Interval | None:
    if ends is None:
        return None
    low, high = ends
    return Interval(-math.inf if low is None else low, math.inf if high is None else high)
