"""How do two means differ, when a unit brings several calls and stages differ?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import check_counts, check_finite
from sidecar.core.stats.sequential import Interval

# Costs and latencies are skewed; below this the normal approximation is not to be trusted.
MIN_UNITS_PER_ARM = 100


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how far chance alone may have moved it, in one unit."""

    value: float
    variance: float

    @property
    def se(self) -> float:
        """Standard error."""
        return math.sqrt(self.variance)


@dataclass(frozen=True, slots=True)
class UnitTotals:
    """Sums over the units of one arm in one stage, from which a mean per call follows.

    A unit brings `n_i` calls (or labelled calls, or weights) with a total of `x_i`. Totals
    add, so hours and shards may be summed before any statistic is taken. The price is
    precision: keep a metric within 10,000 standard deviations of zero (centre the log of
    a latency; never feed timestamps).

    Args:
        units: Number of units.
        n: Sum of `n_i`.
        sum_x: Sum of `x_i`, in the metric's unit.
        sum_x2: Sum of `x_i` squared.
        sum_xn: Sum of `x_i n_i`.
        sum_n2: Sum of `n_i` squared.

    Raises:
        Invalid: A sum is not finite, or one that cannot be negative is.
    """

    units: float
    n: float
    sum_x: float
    sum_x2: float
    sum_xn: float
    sum_n2: float

    def __post_init__(self) -> None:
        check_counts(units=self.units, n=self.n, sum_x2=self.sum_x2, sum_n2=self.sum_n2)
        check_finite(sum_x=self.sum_x, sum_xn=self.sum_xn)

    def __add__(self, other: "UnitTotals") -> "UnitTotals":
        """Merge two disjoint sets of units."""
        return UnitTotals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def mean(self) -> float | None:
        """Mean per call, `sum_x / n`; None without calls."""
        return self.sum_x / self.n if self.n > 0 else None


def ratio_variance(totals: UnitTotals) -> float | None:
    """Variance of a mean per call when the calls of a unit resemble each other.

    `K / (K - 1) (sum x^2 - 2 R sum xn + R^2 sum n^2) / (sum n)^2` with `R = sum x / sum n`
    over `K` units: the delta method for a ratio, and the CR1 cluster-robust variance of a
    regression on a constant. With one call a unit it is `s^2 / n`.

    Returns:
        In the metric's unit, squared. None below two units: one unit says nothing of how
        units differ.

    Source:
        Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018,
        on cluster randomization; Cameron and Miller, "A practitioner's guide to cluster-robust
        inference", 2015, section II.
    """
    squares = _residual_squares(totals)
    if squares is None or totals.units < 2:  # noqa: PLR2004 - one unit has no spread
        return None
    return totals.units / (totals.units - 1) * squares / totals.n**2


@dataclass(frozen=True, slots=True)
class MeanStratum:
    """Both arms of one stage (and of one segment, if the analysis is by segment)."""

    primary: UnitTotals
    canary: UnitTotals


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Canary's mean less primary's, over the stages in which both had units.

    Args:
        primary: The primary's mean over those stages, each with its weight.
        canary: The canary's, with the same weights.
        units_primary: Units in those stages.
        units_canary: Units in those stages.
    """

    primary: Estimate
    canary: Estimate
    units_primary: float
    units_canary: float

    @property
    def estimate(self) -> float:
        """In the metric's unit; above 0 where the canary has more."""
        return self.canary.value - self.primary.value

    @property
    def se(self) -> float:
        """Standard error of `estimate`; 0 if the metric never varied within an arm."""
        return math.sqrt(self.primary.variance + self.canary.variance)

    @property
    def gate_open(self) -> bool:
        """Whether there are units enough for the interval to be shown and acted on."""
        fewest = min(self.units_primary, self.units_canary)
        return fewest >= MIN_UNITS_PER_ARM and self.se > 0


def mean_difference(strata: Iterable[MeanStratum]) -> MeanDifference | None:
    """Compare the arms within each stage, and average the stages.

    Stages weigh `n_P n_C / (n_P + n_C)` (calls). Within a stage the variance is the larger
    of Welch's (each arm its own spread) and the pooled one: with a canary of 5 % and
    skewed costs, Welch alone was wrong in 4 to 12 % of A/A experiments instead of 5 %,
    the larger in 2 % at most.

    Returns:
        None if no stage has calls of both arms and three units; a stage that has not adds
        nothing. Valid as `sequential` says once `gate_open`.

    Source:
        Miratrix, Sekhon and Yu, "Adjusting treatment effect estimates by post-
        stratification", JRSS B 2013; Welch 1947.
    """
    parts = [part for stratum in strata if (part := _compare(stratum)) is not None]
    weights = [part.weight for part in parts]
    primary = stratified([part.primary for part in parts], weights)
    canary = stratified([part.canary for part in parts], weights)
    if primary is None or canary is None:
        return None
    return MeanDifference(
        primary,
        canary,
        units_primary=sum(part.units_primary for part in parts),
        units_canary=sum(part.units_canary for part in parts),
    )


def relative(difference: MeanDifference) -> Estimate | None:
    """Express a difference as a fraction of the primary's mean: 0.1 is 10 % more.

    `R = C / P - 1`, variance `v_C / P^2 + C^2 v_P / P^4` (delta method, independent arms).

    Returns:
        None unless the primary's mean is above 0. Trust it where that mean is many
        standard errors above 0, as a cost's or a latency's is.

    Source:
        Deng, Knoblich and Lu, KDD 2018, on percent changes.
    """
    base, other = difference.primary, difference.canary
    if base.value <= 0:
        return None
    ratio = other.value / base.value
    return Estimate(ratio - 1, (other.variance + ratio**2 * base.variance) / base.value**2)


@dataclass(frozen=True, slots=True)
class MeanRatio:
    """Canary's geometric mean over primary's; 1.1 is 10 % slower (or dearer)."""

    estimate: float
    low: float
    high: float


def geometric_mean_ratio(difference: MeanDifference, interval: Interval) -> MeanRatio:
    """Read a difference of mean logarithms as a ratio of geometric means.

    Args:
        difference: Of `ln(latency_ms)` less any constant centre, the same in both arms.
        interval: Of that difference, with any guarantee: the ratio's is the same, since
            the exponential only relabels the axis.

    Source:
        Definition of the geometric mean.
    """
    return MeanRatio(
        math.exp(difference.estimate), math.exp(interval.low), math.exp(interval.high)
    )


def mantel_haenszel_weight(n_primary: float, n_canary: float) -> float:
    """Weight of a stage, `n_P n_C / (n_P + n_C)`; 0 if an arm is empty.

    It is what least squares with a dummy for each stage gives, so drift between stages
    cancels: with pooled arms, a ramp over a drifting base made 99.95 % of A/A comparisons
    "significant".

    Source:
        Mantel and Haenszel 1959; Greenland and Robins, "Estimation of a common effect
        parameter from sparse follow-up data", Biometrics 1985 (risk difference).
    """
    check_counts(n_primary=n_primary, n_canary=n_canary)
    total = n_primary + n_canary
    return n_primary * n_canary / total if total else 0.0


def stratified(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate | None:
    """Average independent estimates: `sum h d / sum h`, variance `sum h^2 v / (sum h)^2`.

    Args:
        estimates: Of one quantity, one a stage, independent of each other.
        weights: Not negative; fixed by design or by the counts, never by the outcomes,
            which would bias the average.

    Returns:
        None if nothing has a weight.

    Raises:
        Invalid: Lengths differ, a weight is negative, or a number is not finite.

    Source:
        Miratrix, Sekhon and Yu 2013, section 2.
    """
    if len(estimates) != len(weights):
        msg = f"each estimate needs one weight, found {len(estimates)} and {len(weights)}"
        raise Invalid(msg)
    for part, weight in zip(estimates, weights, strict=True):
        check_finite(estimate=part.value)
        check_counts(variance=part.variance, weight=weight)
    total = math.fsum(weights)
    if total <= 0:
        return None
    shares = [weight / total for weight in weights]
    pairs = list(zip(shares, estimates, strict=True))
    return Estimate(
        math.fsum(share * part.value for share, part in pairs),
        math.fsum(share**2 * part.variance for share, part in pairs),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    weight: float
    primary: Estimate
    canary: Estimate
    units_primary: float
    units_canary: float


def _compare(stratum: MeanStratum) -> _Compared | None:
    """Estimate both arms' means in one stage; None if that cannot be done."""
    arms = (stratum.primary, stratum.canary)
    squares = [_residual_squares(arm) for arm in arms]
    spare_units = sum(arm.units for arm in arms) - 2
    if squares[0] is None or squares[1] is None or spare_units <= 0:
        return None
    spread = (squares[0] + squares[1]) / spare_units
    pooled = [spread * arm.units / arm.n**2 for arm in arms]
    welch = [ratio_variance(arm) for arm in arms]
    chosen = pooled
    # One unit has no spread of its own: it borrows the other arm's.
    if welch[0] is not None and welch[1] is not None and welch[0] + welch[1] > sum(pooled):
        chosen = [welch[0], welch[1]]
    primary, canary = (
        Estimate(arm.sum_x / arm.n, variance)
        for arm, variance in zip(arms, chosen, strict=True)
    )
    weight = mantel_haenszel_weight(arms[0].n, arms[1].n)
    return _Compared(weight, primary, canary, arms[0].units, arms[1].units)


def _residual_squares(totals: UnitTotals) -> float | None:
    """Sum of squares of `x_i - R n_i`; None without calls."""
    mean = totals.mean
    if mean is None:
        return None
    squares = totals.sum_x2 - 2 * mean * totals.sum_xn + mean**2 * totals.sum_n2
    return max(squares, 0.0)  # rounding may leave a speck below zero
