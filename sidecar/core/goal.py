"""By how much does the canary differ in what matters? The goal metric of one canary.

Only audited calls count: they were drawn with a known probability, so each speaks for its
inverse. Stages are compared apart and then averaged, because a ramp over a drifting base
rate makes differences where there are none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.audited import audit_sums, design_effect, labelled, unit_totals
from sidecar.core.cells import Cell
from sidecar.core.findings import Gate as GateFinding
from sidecar.core.findings import (
    GoalFinding,
    PerArm,
    VarianceReduction,
    Verdict,
)
from sidecar.core.pairing import EMPTY, Pairing, ends, is_clustered
from sidecar.core.plan import Goal, Kind, Plan
from sidecar.core.stats.audit import AdjustedMean, audit_mean
from sidecar.core.stats.means import (
    MIN_UNITS_PER_ARM,
    Estimate,
    MeanStratum,
    mantel_haenszel_weight,
    mean_difference,
    stratified,
)
from sidecar.core.stats.proportions import GATE_EXPECTED_MINORITY
from sidecar.core.stats.sequential import (
    Interval,
    confidence_sequence,
    log_e_against,
    p_anytime,
)
from sidecar.core.stats.spending import Spending

# A coefficient of fewer labels is mostly noise, and would be fitted to those very labels.
MIN_LABELS_FOR_PROXY = 50


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of the two arms, with the gate that it must pass.

    Args:
        difference: None when no stage compares anything, or nothing varies.
        coefficient: Of the proxy.
        multiplier: By which the proxy multiplies labels; None when none was used.
    """

    difference: Estimate | None
    gate: GateFinding
    coefficient: float = 0.0
    multiplier: float | None = None


def goal_finding(
    plan: Plan, pairs: Sequence[Pairing], canary: str, *, is_valid: bool
) -> GoalFinding:
    """Compare one canary with the primary in the plan's goal.

    Args:
        is_valid: False when the labelled calls are a selected sample; then there is an
            estimate, and no verdict.
    """
    goal, spending = plan.goal, spending_of(plan)
    compare = _proportions if goal.kind is Kind.BOOLEAN else _means
    comparison = compare(goal, pairs)
    shown = comparison.difference if comparison.gate.open else None
    sequence = final = None
    if shown is not None:
        sequence = confidence_sequence(
            shown.value, shown.se, goal.effect, spending.alpha_sequential
        )
        half = spending.half_width(shown.se, goal.effect, at_horizon=True)
        final = Interval(shown.value - half, shown.value + half)
    primary = sum((pair.primary for pair in pairs), EMPTY)
    other = sum((pair.canary for pair in pairs), EMPTY)
    plain = PerArm(_weighted(primary, goal), _weighted(other, goal))
    return GoalFinding(
        name=goal.metric,
        arm=canary,
        method="stratified_mixture_cs",
        primary_unstratified=plain.primary,
        canary_unstratified=plain.canary,
        estimate=None if shown is None else shown.value,
        se=None if shown is None else shown.se,
        interval=ends(sequence),
        interval_kind=f"anytime_{1 - spending.alpha_sequential:g}",
        horizon_interval=ends(final),
        margin=goal.threshold,
        tau=goal.effect,
        p_anytime_vs_margin=_p(shown, goal, goal.threshold),
        p_anytime_vs_zero=_p(shown, goal, 0.0),
        gate=comparison.gate,
        labelled=PerArm(labelled(primary, goal), labelled(other, goal)),
        variance_reduction=_reduction(comparison),
        naive_pooled_difference=(
            None
            if plain.primary is None or plain.canary is None
            else plain.canary - plain.primary
        ),
        verdict=_verdict(goal, sequence, is_valid=is_valid),
    )


def spending_of(plan: Plan) -> Spending:
    """Share alpha between the looks, and evenly between canaries (union bound)."""
    return Spending(plan.alpha / len(plan.canaries), plan.horizon_look)


def _proportions(goal: Goal, pairs: Sequence[Pairing]) -> Comparison:
    """Compare shares of yes: audit-weighted, sharpened by the proxy, stage by stage."""
    coefficient = _coefficient(goal, pairs)
    plain = _strata(goal, pairs, 0.0)
    minority = sum(stratum.minority for stratum in plain)
    gate = GateFinding(
        minority, None, GATE_EXPECTED_MINORITY, minority >= GATE_EXPECTED_MINORITY
    )
    without = _averaged(plain)
    if without is None or coefficient == 0:
        return Comparison(without, gate)
    sharpened = _averaged(_strata(goal, pairs, coefficient))
    if sharpened is None or sharpened.variance >= without.variance:
        return Comparison(without, gate)
    return Comparison(sharpened, gate, coefficient, without.variance / sharpened.variance)


@dataclass(frozen=True, slots=True)
class _Stratum:
    """One stage: its difference, its weight, and how many rarer outcomes it lets expect."""

    difference: Estimate
    weight: float
    minority: float


def _strata(goal: Goal, pairs: Sequence[Pairing], coefficient: float) -> list[_Stratum]:
    found = []
    for pair in pairs:
        primary, canary = (
            audit_mean(audit_sums(cell, goal), coefficient)
            for cell in (pair.primary, pair.canary)
        )
        if primary is None or canary is None:
            continue
        n_p, n_c = primary.effective_labels, canary.effective_labels
        rate = (n_p * primary.plain.value + n_c * canary.plain.value) / (n_p + n_c)
        found.append(
            _Stratum(
                _difference(pair, goal, primary, canary),
                mantel_haenszel_weight(n_p, n_c),
                min(n_p, n_c) * min(rate, 1 - rate),
            )
        )
    return found


def _averaged(strata: Sequence[_Stratum]) -> Estimate | None:
    return stratified([s.difference for s in strata], [s.weight for s in strata])


def _difference(
    pair: Pairing, goal: Goal, primary: AdjustedMean, canary: AdjustedMean
) -> Estimate:
    variance = sum(
        mean.smoothed.variance * design_effect(cell, goal, mean)
        for cell, mean in ((pair.primary, primary), (pair.canary, canary))
    )
    return Estimate(canary.value - primary.value, variance)


def _coefficient(goal: Goal, pairs: Sequence[Pairing]) -> float:
    """Fit one coefficient of the proxy to all arms and stages together.

    Any coefficient is valid; one for each cell would be fitted to a handful of labels.
    Where a unit has several calls there is none: proxy and labels then cluster differently,
    and in simulation the error of a strong proxy's estimate was taken 15 % too small.
    """
    cells = [cell for pair in pairs for cell in (pair.primary, pair.canary)]
    if any(map(is_clustered, cells)):
        return 0.0
    every = sum(cells, EMPTY)
    if goal.metric != "agreement" or labelled(every, goal) < MIN_LABELS_FOR_PROXY:
        return 0.0
    mean = audit_mean(audit_sums(every, goal))
    return 0.0 if mean is None else mean.coefficient


def _means(goal: Goal, pairs: Sequence[Pairing]) -> Comparison:
    """Compare means of a number, over units, with the larger of two variances."""
    strata = [
        MeanStratum(unit_totals(pair.primary, goal), unit_totals(pair.canary, goal))
        for pair in pairs
    ]
    found = mean_difference(strata)
    if found is None:
        return Comparison(None, GateFinding(None, 0.0, MIN_UNITS_PER_ARM, open=False))
    fewest = min(found.units_primary, found.units_canary)
    gate = GateFinding(None, fewest, MIN_UNITS_PER_ARM, found.gate_open)
    return Comparison(Estimate(found.estimate, found.se**2), gate)


def _weighted(cell: Cell, goal: Goal) -> float | None:
    sums = audit_sums(cell, goal)
    return sums.wy / sums.w if sums.w > 0 else None


def _p(shown: Estimate | None, goal: Goal, null: float) -> float | None:
    if shown is None:
        return None
    log_e = log_e_against(null, estimate=shown.value, se=shown.se, tau=goal.effect)
    return float(p_anytime(log_e))


def _reduction(comparison: Comparison) -> VarianceReduction | None:
    multiplier = comparison.multiplier
    if multiplier is None or not math.isfinite(multiplier):
        return None
    return VarianceReduction("confidence", comparison.coefficient, multiplier)


def _verdict(goal: Goal, sequence: Interval | None, *, is_valid: bool) -> Verdict:
    if not is_valid:
        return Verdict.INVALID
    if sequence is None:
        return Verdict.INSUFFICIENT_DATA
    if sequence.low > goal.threshold:
        return Verdict.PASS
    return Verdict.FAIL if sequence.high < goal.threshold else Verdict.UNDECIDED
