"""Does the canary do harm, and does it answer differently? Guardrails and label shift."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.cells import Cell
from sidecar.core.decision import guardrail_threshold
from sidecar.core.findings import (
    Gate,
    GuardrailFinding,
    LabelRatio,
    LabelShift,
    PerArm,
    Verdict,
)
from sidecar.core.pairing import Pairing, ends, finite, is_clustered, is_sticky
from sidecar.core.plan import Guard, Guardrail, Plan
from sidecar.core.stats.counts import (
    RateStage,
    mean_log_e,
    risk_ratio_log_e,
    risk_ratio_sequence,
)
from sidecar.core.stats.means import (
    MIN_UNITS_PER_ARM,
    MeanStratum,
    UnitTotals,
    mean_difference,
    relative,
)
from sidecar.core.stats.sequential import (
    Interval,
    confidence_sequence,
    mixture_log_e_one_sided,
    p_anytime,
)

LABEL_SHIFT_LOG_E = math.log(20)  # an information, so one false flag in 20 experiments is fine
# Beyond one call in a hundred of unknown cost, the known ones may be a selected sample.
MAX_UNKNOWN_COST = 0.01
_COUNTED = {  # by the names of a cell's totals
    Guard.BAD_RATE: "units_bad",
    Guard.SLOW_SHARE: "units_slow",
    Guard.DISAGREEMENTS: "disagree",
}


def guardrail_finding(
    plan: Plan, guardrail: Guardrail, pairs: Sequence[Pairing], canary: str
) -> GuardrailFinding:
    """Test one guardrail of one canary."""
    if guardrail.metric is Guard.COST:
        return _cost(plan, guardrail, pairs, canary)
    return _events(plan, guardrail, pairs, canary)


def label_shift(pairs: Sequence[Pairing], canary: str, alpha: float) -> LabelShift:
    """Compare how often each label is given; None where no label was given.

    The labels of one call exclude each other, so their e-values are averaged.
    """
    counted = [(pair.share, _labels(pair.primary), _labels(pair.canary)) for pair in pairs]
    names = sorted({name for _, *arms in counted for arm in arms for name in arm})
    ratios = {
        name: risk_ratio_sequence(
            [
                RateStage(canary=mine.get(name, 0), primary=other.get(name, 0), share=share)
                for share, other, mine in counted
            ],
            alpha,
        )
        for name in names
    }
    log_e = mean_log_e([ratio.log_e_at_one for ratio in ratios.values()])
    is_changed = log_e is not None and log_e >= LABEL_SHIFT_LOG_E
    verdict = Verdict.CHANGED if is_changed else Verdict.NO_CHANGE_DETECTED
    return LabelShift(
        arm=canary,
        labels={
            name: LabelRatio(
                None if ratio.estimate is None else finite(ratio.estimate),
                (finite(ratio.low), finite(ratio.high)),
            )
            for name, ratio in ratios.items()
        },
        log_e=log_e,
        p_anytime=None if log_e is None else float(p_anytime(log_e)),
        verdict=Verdict.INSUFFICIENT_DATA if log_e is None else verdict,
    )


def _events(
    plan: Plan, guardrail: Guardrail, pairs: Sequence[Pairing], canary: str
) -> GuardrailFinding:
    """Compare counts of a bad event: exact from the first one on."""
    name = _COUNTED[guardrail.metric]
    primary = [pair.primary.count(name) for pair in pairs]
    events = [pair.canary.count(name) for pair in pairs]
    crowding = _crowding(pairs) if guardrail.metric is Guard.DISAGREEMENTS else 1.0
    stages = [
        RateStage(canary=mine / crowding, primary=other / crowding, share=pair.share)
        for pair, other, mine in zip(pairs, primary, events, strict=True)
    ]
    log_e, limit = risk_ratio_log_e(stages, guardrail.limit), guardrail_threshold(plan)
    ratio = risk_ratio_sequence(stages, plan.guardrail_alpha)
    is_known = ratio.estimate is not None
    return GuardrailFinding(
        name=str(guardrail.metric),
        arm=canary,
        kind="risk_ratio",
        method="exact_count_eprocess",
        events=PerArm(
            sum(primary) if pairs else None,
            sum(events) if pairs else None,
        ),
        estimate=None if ratio.estimate is None else finite(ratio.estimate),
        interval=(finite(ratio.low), finite(ratio.high)) if is_known else None,
        max_ratio=guardrail.limit,
        slow_ms=plan.slow_ms if guardrail.metric is Guard.SLOW_SHARE else None,
        log_e=log_e,
        threshold_log_e=limit,
        is_exact=_is_exact(guardrail, pairs),
        verdict=Verdict.BREACH if log_e >= limit else Verdict.OK,
    )


def _is_exact(guardrail: Guardrail, pairs: Sequence[Pairing]) -> bool:
    """Tell whether events are independent: one a unit at most, over all stages."""
    cells = [cell for pair in pairs for cell in (pair.primary, pair.canary)]
    if guardrail.metric is Guard.DISAGREEMENTS and any(map(is_clustered, cells)):
        return False
    return len(pairs) <= 1 or not any(map(is_sticky, cells))


def _crowding(pairs: Sequence[Pairing]) -> float:
    """How many disagreements come together in a unit, at least 1.

    Disagreements are counted by call, for an audited call is a rare one. Where a unit has
    several, they are not independent, and the counts are divided by their clustering
    `sum_u D_u^2 / sum w^2 d` (D_u: a unit's weighted disagreements), as overdispersed
    counts are. An approximation; exactly 1 where every call is a unit.

    Source:
        McCullagh & Nelder, "Generalized linear models" (1989), section 6.2.
    """
    clustered = alone = 0.0
    for pair in pairs:
        for cell in (pair.primary, pair.canary):
            if is_clustered(cell):
                units = cell.units
                clustered += units.u_w2 - 2 * units.u_wy_w + units.u_wy2
                alone += cell.audit.w2 - cell.audit.w2y
    return max(clustered / alone, 1.0) if alone > 0 else 1.0


@dataclass(frozen=True, slots=True)
class _Relative:
    """The canary's mean over the primary's, less 1."""

    value: float
    interval: Interval
    log_e: float


def _cost(
    plan: Plan, guardrail: Guardrail, pairs: Sequence[Pairing], canary: str
) -> GuardrailFinding:
    """Compare the mean cost of a call, relative to the primary's."""
    found = mean_difference(
        MeanStratum(_costs(pair.primary), _costs(pair.canary)) for pair in pairs
    )
    cells = [cell for pair in pairs for cell in (pair.primary, pair.canary)]
    units = 0.0 if found is None else min(found.units_primary, found.units_canary)
    is_open = found is not None and found.gate_open and not any(map(_is_costs_unknown, cells))
    limit, seen = guardrail_threshold(plan), None
    if found is not None and is_open and (change := relative(found)) is not None:
        tau = guardrail.limit
        z = (change.value - guardrail.limit) / change.se
        seen = _Relative(
            change.value,
            confidence_sequence(change.value, change.se, tau, plan.guardrail_alpha),
            float(mixture_log_e_one_sided(z, (tau / change.se) ** 2)),
        )
    verdict = Verdict.INSUFFICIENT_DATA
    if seen is not None:
        verdict = Verdict.BREACH if seen.log_e >= limit else Verdict.OK
    return GuardrailFinding(
        name=str(guardrail.metric),
        arm=canary,
        kind="relative_difference",
        method="stratified_mixture_cs",
        events=PerArm(
            None if found is None else found.primary.value,
            None if found is None else found.canary.value,
        ),
        estimate=None if seen is None else seen.value,
        interval=None if seen is None else ends(seen.interval),
        margin=guardrail.limit,
        log_e=None if seen is None else seen.log_e,
        threshold_log_e=limit,
        gate=Gate(None, units, MIN_UNITS_PER_ARM, is_open),
        is_exact=False,
        verdict=verdict,
    )


def _costs(cell: Cell) -> UnitTotals:
    moments = cell.units
    return UnitTotals(
        moments.units,
        cell.calls,
        cell.cost_usd or 0.0,
        moments.cost2,
        moments.cost_n,
        moments.nn,
    )


def _is_costs_unknown(cell: Cell) -> bool:
    unknown = cell.calls - cell.count("cost_known")
    return unknown > MAX_UNKNOWN_COST * cell.calls


def _labels(cell: Cell) -> dict[str, int]:
    return cell.kinds("label")
