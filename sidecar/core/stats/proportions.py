"""By how much does one arm's proportion differ from another's, over all stages?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import FloatArray, check_counts, check_inside_unit
from sidecar.core.stats.sequential import Interval

# Below this the interval promotes a canary that has merely not failed yet: at 5 % canary
# and 95 % agreement, 23.5 % of A/A experiments. At 30, at most 2.5 % (10: 3.9 %, 20: 2.9 %).
GATE_EXPECTED_MINORITY = 30.0
# Fewer labels than this say little of a model. Plain counts that pass the gate above have
# 60 at least; this one binds where the variance is a weighted or predicted one.
MIN_LABELLED_CANARY = 50.0


@dataclass(frozen=True, slots=True)
class Stratum:
    """Both arms of one stage: how many were counted, and how many of them were hits.

    Counts may be sums of weights. What is counted must be independent: units, or calls
    where each call is its own unit (else use `means` with its cluster-robust variance).

    Raises:
        Invalid: A count is negative, not finite, or smaller than its hits.
    """

    n_primary: float
    x_primary: float
    n_canary: float
    x_canary: float

    def __post_init__(self) -> None:
        _check(self.n_primary, self.x_primary, "primary")
        _check(self.n_canary, self.x_canary, "canary")


@dataclass(frozen=True, slots=True)
class Difference:
    """Canary's proportion less primary's, over the stages in which both were counted.

    Args:
        estimate: In [-1, 1]; 0.01 is one percentage point.
        se: Its standard error, above 0.
        expected_minority: `sum_s min(n_P, n_C) min(p_s, 1 - p_s)`: how many rarer outcomes
            the smaller arm is expected to show.
        n_primary: Counted in those stages.
        n_canary: Counted in those stages.
    """

    estimate: float
    se: float
    expected_minority: float
    n_primary: float
    n_canary: float

    @property
    def gate_open(self) -> bool:
        """Whether the counts suffice for the interval to be shown and acted on."""
        return (
            self.expected_minority >= GATE_EXPECTED_MINORITY
            and self.n_canary >= MIN_LABELLED_CANARY
        )


def stratified_difference(strata: Sequence[Stratum]) -> Difference | None:
    """Compare the arms within each stage, and average the stages.

    Stages weigh `h_s = n_P n_C / (n_P + n_C)`: the estimate equals that of least squares
    with a dummy for each stage. A stage's variance is `q (1 - q) / n` in each arm, with `q`
    the proportion after one hit and one miss were added: an arm that has not failed yet is
    not certain.

    Returns:
        None if no stage counts both arms; a stage with one arm adds nothing. Valid, as
        `sequential` says, once `gate_open`.

    Source:
        Mantel and Haenszel 1959; Miratrix, Sekhon and Yu, JRSS B 2013; Agresti and Caffo,
        "Simple and effective confidence intervals for proportions", The American
        Statistician 2000.
    """
    both = [stratum for stratum in strata if stratum.n_primary > 0 and stratum.n_canary > 0]
    if not both:
        return None
    n_primary = np.array([stratum.n_primary for stratum in both])
    n_canary = np.array([stratum.n_canary for stratum in both])
    estimate, se, minority = stratified_differences(
        n_primary,
        np.array([stratum.x_primary for stratum in both]),
        n_canary,
        np.array([stratum.x_canary for stratum in both]),
    )
    return Difference(
        float(estimate),
        float(se),
        float(minority),
        float(n_primary.sum()),
        float(n_canary.sum()),
    )


def stratified_differences(
    n_primary: FloatArray, x_primary: FloatArray, n_canary: FloatArray, x_canary: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Do `stratified_difference` for many experiments at once.

    Args:
        n_primary: Shape (..., stages), as are all four; checked by the caller.
        x_primary: Hits.
        n_canary: A stage counts only where both arms do.
        x_canary: Hits.

    Returns:
        Estimates, standard errors and expected minorities, each of shape (...). Where no
        stage counts both arms: NaN, infinite and 0.
    """
    total = n_primary + n_canary
    weight = n_primary * n_canary / np.maximum(total, 1e-300)
    # An arm that is empty has weight 0, so what it is divided by does not matter.
    n_p, n_c = np.where(n_primary > 0, n_primary, 1.0), np.where(n_canary > 0, n_canary, 1.0)
    q_p, q_c = (x_primary + 1) / (n_p + 2), (x_canary + 1) / (n_c + 2)
    variance = q_p * (1 - q_p) / n_p + q_c * (1 - q_c) / n_c
    rate = (x_primary + x_canary) / np.maximum(total, 1e-300)
    rarer = np.minimum(n_primary, n_canary) * np.minimum(rate, 1 - rate)
    weights = weight.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = (weight * (x_canary / n_c - x_primary / n_p)).sum(axis=-1) / weights
        se = np.sqrt((weight**2 * variance).sum(axis=-1)) / weights
    return estimate, np.where(weights > 0, se, np.inf), rarer.sum(axis=-1)


def pooled_difference(strata: Sequence[Stratum]) -> float | None:
    """Subtract the proportions of all stages thrown together. For display only.

    Over a ramp this is Simpson's paradox: stages with another share and another base rate
    make a difference where there is none. Shown beside the stratified estimate, so that
    one sees when the two part.

    Returns:
        None if an arm was never counted.
    """
    n_primary = sum(stratum.n_primary for stratum in strata)
    n_canary = sum(stratum.n_canary for stratum in strata)
    if not n_primary or not n_canary:
        return None
    canary = sum(stratum.x_canary for stratum in strata) / n_canary
    return canary - sum(stratum.x_primary for stratum in strata) / n_primary


def wilson_interval(hits: float, n: float, alpha: float) -> Interval | None:
    """Bracket one proportion, for a single look.

    Returns:
        None if nothing was counted.

    Raises:
        Invalid: As `Stratum`; `alpha` is not inside (0, 1).

    Source:
        Wilson 1927; Newcombe, "Two-sided confidence intervals for the single proportion",
        Statistics in Medicine 1998, method 3.
    """
    _check(n, hits, "arm")
    check_inside_unit(alpha=alpha)
    if n == 0:
        return None
    z2 = float(ndtri(alpha / 2)) ** 2
    rate = hits / n
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


def newcombe_interval(stratum: Stratum, alpha: float) -> Interval | None:
    """Bracket canary's proportion less primary's, in one stage, for a single look.

    Valid only if you look once: over many looks it misses the truth far more often than
    `alpha` says. Never decide on it; show it with that label.

    Returns:
        None if an arm was not counted.

    Raises:
        Invalid: `alpha` is not inside (0, 1).

    Source:
        Newcombe, "Interval estimation for the difference between independent proportions",
        Statistics in Medicine 1998, method 10 (hybrid score, no continuity correction).
    """
    primary = wilson_interval(stratum.x_primary, stratum.n_primary, alpha)
    canary = wilson_interval(stratum.x_canary, stratum.n_canary, alpha)
    if primary is None or canary is None:
        return None
    p = stratum.x_primary / stratum.n_primary
    q = stratum.x_canary / stratum.n_canary
    below = ((q - canary.low) ** 2 + (primary.high - p) ** 2) ** 0.5
    above = ((canary.high - q) ** 2 + (p - primary.low) ** 2) ** 0.5
    return Interval(q - p - below, q - p + above)


def _check(n: float, hits: float, arm: str) -> None:
    check_counts(**{f"n_{arm}": n, f"x_{arm}": hits})
    if hits > n:
        msg = f"x_{arm} counts among n_{arm}, found {hits} of {n}"
        raise Invalid(msg)
