"""May the numbers be believed? Split as designed, units in one arm, labels from both arms."""

import math
from collections.abc import Sequence

from sidecar.core.audited import labelled
from sidecar.core.findings import (
    AuditReturn,
    PerArm,
    SampleRatioFinding,
    StageSplit,
    Validity,
)
from sidecar.core.pairing import EMPTY, Cells, Pairing, designed_shares, is_sticky, pairings
from sidecar.core.plan import Plan
from sidecar.core.results import StageDesign
from sidecar.core.stats.counts import beta_binomial_log_e, mean_log_e
from sidecar.core.stats.sequential import p_anytime
from sidecar.core.stats.srm import (
    SRM_LOG_E,
    SplitStage,
    read_sample_ratio,
    sample_ratio_log_e,
)

AUDIT_RETURN_LOG_E = math.log(100)  # beyond it the labels are a selected sample
# JSON knows no infinity; this much evidence is certainty.
CERTAIN_LOG_E = 1e9


def validity(plan: Plan, designs: Sequence[StageDesign], cells: Cells) -> Validity:
    """Check what every comparison presumes."""
    splits = [_split(design, cells) for design in designs if design.share_bp]
    several = sum(cell.count("multi_arm_units") for cell in cells.values())
    units = sum(cell.count("units") for cell in cells.values())
    return Validity(
        srm=sample_ratio(splits, is_sticky=any(map(is_sticky, cells.values()))),
        multi_arm_units=several,
        multi_arm_share=several / units if units else None,
        audit_return=tuple(
            audit_return(plan, pairings(designs, cells, canary), canary)
            for canary in plan.canaries
        ),
    )


def sample_ratio(splits: Sequence[StageSplit], *, is_sticky: bool) -> SampleRatioFinding:
    """Weigh the evidence that units were not split as designed, all arms together.

    Args:
        is_sticky: Units come back, and keep their arms. Then the stages are not independent
            draws: one unlucky stage would repeat itself in all that follow, so their
            e-values are averaged, which holds under any dependence, and not multiplied.
    """
    stages = [
        SplitStage(
            tuple(float(split.units.get(arm, 0)) for arm in split.shares),
            tuple(split.shares.values()),
        )
        for split in splits
        if any(split.units.values())
    ]
    log_e = _averaged(stages) if is_sticky else sample_ratio_log_e(stages)
    return SampleRatioFinding(
        status=str(read_sample_ratio(log_e)),
        log_e=min(log_e, CERTAIN_LOG_E),
        p_anytime=float(p_anytime(log_e)),
        threshold_log_e=SRM_LOG_E,
        stages=tuple(splits),
    )


def audit_return(plan: Plan, pairs: Sequence[Pairing], canary: str) -> AuditReturn:
    """Weigh the evidence that one arm's drawn calls come back labelled more often.

    Given how many calls of a stage were drawn in each arm, a label is the canary's with the
    canary's part of the drawn calls. Labels that are late in both arms alike do no harm.
    """
    log_e, drawn, back = 0.0, [0, 0], [0, 0]
    for pair in pairs:
        arms = (pair.primary, pair.canary)
        draws = [cell.count("drawn") for cell in arms]
        labels = [labelled(cell, plan.goal) for cell in arms]
        drawn = [a + b for a, b in zip(drawn, draws, strict=True)]
        back = [a + b for a, b in zip(back, labels, strict=True)]
        if all(draws):
            theta = draws[1] / sum(draws)
            log_e += float(beta_binomial_log_e(labels[1], labels[0], theta))
    returned = [n / of if of else None for n, of in zip(back, drawn, strict=True)]
    return AuditReturn(canary, PerArm(*returned), log_e, is_valid=log_e < AUDIT_RETURN_LOG_E)


def _split(design: StageDesign, cells: Cells) -> StageSplit:
    shares = designed_shares(design)
    units = {arm: cells.get((design.stage, arm), EMPTY).count("units") for arm in shares}
    return StageSplit(design.stage, shares, units)


def _averaged(stages: Sequence[SplitStage]) -> float:
    log_es = [sample_ratio_log_e([stage]) for stage in stages]
    # Certainty in one stage is certainty; the mean of e-values cannot take it.
    return max(log_es) if math.inf in log_es else mean_log_e(log_es) or 0.0
