"""Does a judge that says it is 80 % sure turn out to be right 80 % of the time?

Everything comes from audited calls, each speaking for w = 1/probability calls.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from sidecar.core.stats.checks import check_counts
from sidecar.core.stats.means import Estimate

BINS = 10
"""Bins of confidence, equally wide: the number calibration errors are usually told with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierSums:
    """Sums of b = (confidence - y)^2 over audited calls; y is 1 if the model was right.

    Args:
        w, w2: Sums of w and w^2.
        w_brier, w2_brier, w2_brier2: Sums of w b, w^2 b and w^2 b^2.
    """

    w: float
    w2: float
    w_brier: float
    w2_brier: float
    w2_brier2: float

    def __add__(self, other: Self) -> Self:
        return type(self)(
            w=self.w + other.w,
            w2=self.w2 + other.w2,
            w_brier=self.w_brier + other.w_brier,
            w2_brier=self.w2_brier + other.w2_brier,
            w2_brier2=self.w2_brier2 + other.w2_brier2,
        )


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Sums over the audited calls whose confidence fell into one bin.

    Args:
        w: Sum of the weights; 0 for an empty bin.
        wf: Sum of weight times confidence.
        wy: Sum of weight times y.
    """

    w: float
    wf: float
    wy: float

    def __add__(self, other: Self) -> Self:
        return type(self)(self.w + other.w, self.wf + other.wf, self.wy + other.wy)


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """One point of the reliability curve; on the diagonal, the confidence is honest.

    Args:
        low, high: The bin's edges.
        confidence: Mean confidence in the bin, in [0, 1].
        accuracy: Share of right answers in it, in [0, 1].
        share: Of all (weighted) calls, those in it, in (0, 1].
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    share: float


def brier(sums: BrierSums) -> Estimate | None:
    """The Brier score: mean squared distance of confidence from being right, in [0, 1].

    B = sum(w b) / sum(w), variance = sum(w^2 (b - B)^2) / (sum w)^2. Lower is better; a judge
    that always says 50 % gets 0.25. Asymptotic, for independent calls. The difference of
    two arms has the sum of their variances.

    Returns:
        None when there is no label.

    Raises:
        Invalid: A sum is negative or not finite.

    Source:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly
        Weather Review 78 (1950); Hajek's weighted mean and its linearised variance.
    """
    check_counts(**asdict(sums))
    if sums.w <= 0:
        return None
    score = sums.w_brier / sums.w
    squares = sums.w2_brier2 - 2 * score * sums.w2_brier + score**2 * sums.w2
    return Estimate(score, max(squares, 0.0) / sums.w**2)


def reliability(bins: Sequence[ReliabilityBin]) -> list[ReliabilityPoint]:
    """The reliability curve, from equally wide bins of [0, 1]; empty bins give no point.

    Raises:
        Invalid: A sum is negative or not finite.
    """
    for one in bins:
        check_counts(**asdict(one))
    total = sum(one.w for one in bins)
    return [
        ReliabilityPoint(
            low=index / len(bins),
            high=(index + 1) / len(bins),
            confidence=one.wf / one.w,
            accuracy=one.wy / one.w,
            share=one.w / total,
        )
        for index, one in enumerate(bins)
        if one.w > 0
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Mean distance of confidence from accuracy over the bins, by weight, in [0, 1].

    Descriptive: it depends on the bins and is too high in small samples, where a bin of few
    labels is off by chance. Never tested.

    Returns:
        None when there is no label.

    Raises:
        Invalid: As `reliability`.

    Source:
        Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    points = reliability(bins)
    if not points:
        return None
    return sum(point.share * abs(point.accuracy - point.confidence) for point in points)
