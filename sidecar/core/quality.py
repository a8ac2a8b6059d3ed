"""How good is an arm as a judge, beyond the share it gets right? Described, never decided on.

Over all stages of an epoch, by the audit's weights: nothing here is compared between arms,
so a ramp can make one arm's numbers those of another week.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.core.cells import Cell
from sidecar.core.stats.agreement import (
    FEWEST_LABELS,
    Confusion,
    Distance,
    accuracy,
    cohen_kappa,
    confusion_of,
    f1,
    precision,
    recall,
)
from sidecar.core.stats.calibration import (
    BrierSums,
    ReliabilityBin,
    ReliabilityPoint,
    brier,
    expected_calibration_error,
    reliability,
)
from sidecar.core.stats.means import Estimate

# Labels with an order, from one end to the other; other sets have none that we know.
ORDERED = ("irrelevant", "maybe", "relevant")


@dataclass(frozen=True, slots=True)
class WithError:
    """A number with its standard error."""

    value: float
    se: float


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """How one label is used: precision, recall and F1, in [0, 1]; None where undefined."""

    label: str
    precision: WithError | None
    recall: WithError | None
    f1: WithError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmQuality:
    """One arm's answers beside the audit's human labels; None where there are none.

    Args:
        weighted_kappa: Quadratic, for the labels irrelevant, maybe and relevant; None for
            other sets, which have no order.
        brier: Of the confidence, in [0, 1]; lower is better.
        calibration_error: Mean distance of confidence from accuracy over ten bins.
    """

    name: str = "quality"
    arm: str
    role: str = "info"
    labelled: int
    agreement: WithError | None
    kappa: WithError | None
    weighted_kappa: WithError | None
    labels: Sequence[LabelQuality]
    brier: WithError | None
    calibration_error: float | None
    reliability: Sequence[ReliabilityPoint]


def arm_quality(arm: str, cell: Cell, labels: Sequence[str]) -> ArmQuality:
    """Describe an arm as a judge.

    Args:
        cell: The arm's, over all stages.
        labels: What a judge may answer. Pairs with others, from before the set was
            changed, are left out.
    """
    found = _confusion(cell, _in_order(labels))
    bins = [ReliabilityBin(each.w, each.wf, each.wy) for each in cell.reliability]
    sums = cell.audit
    return ArmQuality(
        arm=arm,
        labelled=sums.labelled,
        agreement=None if found is None else _shown(accuracy(found)),
        kappa=None if found is None else _shown(cohen_kappa(found)),
        weighted_kappa=None
        if found is None or tuple(found.labels) != ORDERED
        else _shown(cohen_kappa(found, Distance.QUADRATIC)),
        labels=[] if found is None else [_label(found, label) for label in found.labels],
        brier=_shown(
            brier(
                BrierSums(
                    w=sums.w,
                    w2=sums.w2,
                    w_brier=sums.w_brier,
                    w2_brier=sums.w2_brier,
                    w2_brier2=sums.w2_brier2,
                )
            )
        ),
        calibration_error=expected_calibration_error(bins),
        reliability=reliability(bins),
    )


def _confusion(cell: Cell, labels: Sequence[str]) -> Confusion | None:
    pairs = {pair: each for pair, each in cell.confusion.items() if {*pair} <= {*labels}}
    if not pairs or len(labels) < FEWEST_LABELS:
        return None
    counts: Mapping[tuple[str, str], float] = {pair: each.n for pair, each in pairs.items()}
    return confusion_of(labels, counts, {pair: each.w for pair, each in pairs.items()})


def _in_order(labels: Sequence[str]) -> Sequence[str]:
    return ORDERED if set(labels) == set(ORDERED) else labels


def _label(found: Confusion, label: str) -> LabelQuality:
    return LabelQuality(
        label,
        _shown(precision(found, label)),
        _shown(recall(found, label)),
        _shown(f1(found, label)),
    )


def _shown(estimate: Estimate | None) -> WithError | None:
    return None if estimate is None else WithError(estimate.value, estimate.se)
