"""How sure may one be of a difference, however often one looked?

All of it rests on one e-value, the normal mixture: a bet against "the difference is
`null`" that mixes over all true differences, `N(null, tau^2)`. Its running value exceeds
`1 / alpha` at any look with probability at most `alpha` (Ville's inequality), so results
may be read at every look and stopped on.

The z-statistics are asymptotically normal, not exactly: the guarantee holds once a
metric's gate (`proportions`, `means`) is open, and was measured by simulation. For rare
events use the exact `counts`.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import (
    Number,
    check_counts,
    check_finite,
    check_inside_unit,
    check_positive,
    plain,
)


@dataclass(frozen=True, slots=True)
class Interval:
    """All values from `low` to `high`; an unbounded side is infinite.

    Raises:
        Invalid: `low` is above `high`, or an end is not a number.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            msg = f"an interval goes from low to high, found {self.low} to {self.high}"
            raise Invalid(msg)

    @property
    def width(self) -> float:
        """Distance between the ends."""
        return self.high - self.low

    def holds(self, value: float) -> bool:
        """Tell whether `value` lies inside, ends included."""
        return self.low <= value <= self.high

    def meet(self, other: "Interval") -> "Interval | None":
        """Intersect two intervals.

        The running intersection of a confidence sequence covers as surely as each look's
        interval does, as long as the estimated difference does not itself drift.

        Returns:
            None if they share no value.
        """
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Interval(low, high) if low <= high else None


def mixture_log_e(z: Number, r: Number) -> Number:
    """Weigh the evidence against `difference = null`, in either direction.

    `ln e = -ln(1 + r) / 2 + z^2 r / (2 (1 + r))`.

    Args:
        z: `(estimate - null) / se`.
        r: `(tau / se)^2`, the precision reached, relative to the prior's; 0 is no data.
            Both may be arrays of one shape.

    Returns:
        Log e-value; at most 0 where the data favour the null, `ln(1 / alpha)` or more
        where the null is rejected at `alpha`.

    Raises:
        Invalid: An argument is not finite, or `r` is negative.

    Source:
        Robbins, "Statistical methods related to the law of the iterated logarithm", 1970;
        Johari, Koomen, Pekelis and Walsh, "Always valid inference", Operations Research
        2022, section 4 (mSPRT); Waudby-Smith et al. 2024 (arXiv 2103.06476), eq. 9.
    """
    check_finite(z=z)
    check_counts(r=r)
    log_e: Number = -0.5 * np.log1p(r) + 0.5 * z * z * (r / (1 + r))
    return plain(log_e)


def mixture_log_e_one_sided(z: Number, r: Number) -> Number:
    """Weigh the evidence against `difference <= null`.

    `ln e = ln 2 - ln(1 + r) / 2 + z^2 r / (2 (1 + r)) + ln Phi(z sqrt(r / (1 + r)))`: the
    mixture over a half-normal instead of a normal.

    Args:
        z: As in `mixture_log_e`; only a positive one can become evidence.
        r: As in `mixture_log_e`.

    Returns:
        Log e-value, as `mixture_log_e`.

    Raises:
        Invalid: An argument is not finite, or `r` is negative.

    Source:
        Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
        confidence sequences", Annals of Statistics 2021 (arXiv 1810.08240), section 3.2,
        one-sided normal mixture.
    """
    both: Number = mixture_log_e(z, r)
    side: Number = log_ndtr(z * np.sqrt(r / (1 + r)))
    return plain(math.log(2) + both + side)


def half_width(se: Number, tau: float, alpha: float) -> Number:
    """Half the width of the confidence sequence, in the unit of `se`.

    `se sqrt((1 + r) / r (2 ln(1 / alpha) + ln(1 + r)))` with `r = (tau / se)^2`: where
    `mixture_log_e` crosses `ln(1 / alpha)`. It is GrowthBook's sequential interval with
    `rho = tau / (se sqrt(N))`.

    Args:
        se: Standard error of the estimate so far, above 0; may be an array.
        tau: Standard deviation of the mixture. The smallest difference worth finding is
            the best choice: the interval is then tightest about where it is decided.
            Rather too large than too small.
        alpha: Probability of ever missing the truth, over all looks together.

    Raises:
        Invalid: `se` or `tau` is not above 0, or `alpha` is not inside (0, 1).

    Source:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory
        and asymptotic confidence sequences", Annals of Statistics 2024 (arXiv
        2103.06476), eq. 9, in precision instead of sample size.
    """
    check_positive(se=se, tau=tau)
    check_inside_unit(alpha=alpha)
    ratio: Number = se / tau
    square = ratio * ratio
    wide: Number = se * np.sqrt((1 + square) * (np.log1p(1 / square) - 2 * math.log(alpha)))
    return plain(wide)


def confidence_sequence(estimate: float, se: float, tau: float, alpha: float) -> Interval:
    """Bracket a difference so that all looks together miss it with probability `alpha`.

    Args:
        estimate: In any unit.
        se: In the same unit, above 0.
        tau: As in `half_width`.
        alpha: As in `half_width`.

    Raises:
        Invalid: As `half_width`, or the estimate is not finite.

    Source:
        As `half_width`.
    """
    check_finite(estimate=estimate)
    half = half_width(se, tau, alpha)
    return Interval(estimate - half, estimate + half)


def fixed_interval(estimate: float, se: float, alpha: float) -> Interval:
    """Bracket a difference for a single look, planned beforehand: `estimate +- z se`.

    Valid only if you look once, at a horizon that did not depend on the data. It is what
    the look at the declared horizon uses, and is shown as such.

    Raises:
        Invalid: `se` is not above 0, or `alpha` is not inside (0, 1).

    Source:
        The normal (Wald) interval; two-sided, `z = Phi^-1(1 - alpha / 2)`.
    """
    check_finite(estimate=estimate)
    check_positive(se=se)
    check_inside_unit(alpha=alpha)
    half = float(-ndtri(alpha / 2)) * se
    return Interval(estimate - half, estimate + half)


def log_e_against(null: float, *, estimate: float, se: float, tau: float) -> float:
    """Weigh the evidence that a difference is not `null`.

    Args:
        null: 0 for superiority, minus the margin for non-inferiority.
        estimate: In the unit of `null`, as are `se` and `tau`.
        se: Above 0.
        tau: As in `half_width`.

    Returns:
        Log e-value: `null` lies outside the confidence sequence at `alpha` exactly when
        this is above `ln(1 / alpha)`.

    Raises:
        Invalid: As `half_width`.

    Source:
        As `mixture_log_e`.
    """
    check_positive(se=se, tau=tau)
    return mixture_log_e((estimate - null) / se, (tau / se) ** 2)


def p_anytime(log_e: Number) -> Number:
    """Turn a log e-value into a p-value that is valid at every look: `min(1, 1 / e)`.

    Args:
        log_e: Of one look, or the highest of all looks so far (`latched`); an infinite
            one is certainty. May be an array.

    Raises:
        Invalid: It is not a number.

    Source:
        Ville's inequality; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics
        and safe anytime-valid inference", Statistical Science 2023, section 2.
    """
    if np.isnan(log_e).any():
        msg = "a log e-value must be a number, found nan"
        raise Invalid(msg)
    p: Number = np.exp(-np.maximum(log_e, 0.0))
    return plain(p)


def latched(highest: float | None, log_e: float) -> float:
    """Keep the highest evidence of all looks; what was once shown stays shown.

    Args:
        highest: Of the looks before; None at the first look.
        log_e: Of this look.

    Source:
        Ville's inequality bounds the whole path's maximum, so a running maximum costs no
        further error.
    """
    return log_e if highest is None else max(highest, log_e)


def probability_above(null: float, *, estimate: float, se: float, tau: float) -> float:
    """Posterior probability that the difference is above `null`. Never decide on it.

    The posterior of the prior `N(0, tau^2)`: mean `estimate r / (1 + r)`, variance
    `se^2 r / (1 + r)`. It is the Bayesian reading of the same sums, for display: unlike
    the confidence sequence it bounds no error rate over many looks.

    Raises:
        Invalid: As `half_width`.

    Source:
        Conjugate normal prior; Gelman et al., "Bayesian Data Analysis", section 2.5.
    """
    check_finite(estimate=estimate, null=null)
    check_positive(se=se, tau=tau)
    shrink = 1 / (1 + (se / tau) ** 2)
    return float(ndtr((estimate * shrink - null) / (se * math.sqrt(shrink))))
