"""How many labels does an answer need, and when will they be there?

Planning numbers, for the usual normal approximation; nothing is decided with them.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from scipy.optimize import brentq
from scipy.special import ndtri

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import (
    check_counts,
    check_finite,
    check_inside_unit,
    check_positive,
)
from sidecar.core.stats.sequential import half_width


class Look(StrEnum):
    """When the result may be read."""

    ONCE = "once"
    ALWAYS = "always"
    HYBRID = "hybrid"


INFLATION = {Look.ONCE: 1.0, Look.ALWAYS: 1.65, Look.HYBRID: 1.25}
"""Labels for 80 % power over those of a test read once: measured at alpha 0.05 with 200
looks and tau at the effect planned for (power of agreement 0.85 against 0.80)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a planned comparison of canary and primary is like.

    Args:
        variance_primary, variance_canary: Of one label's value; `rate_variance` for a rate.
        share: The canary's share of the labels, in (0, 1).
        alpha: Two-sided, in (0, 1).
        power: Chance to see the distance if it is there, in (alpha/2, 1).
        look: When the result may be read.

    Raises:
        Invalid: A number outside its range.
    """

    variance_primary: float
    variance_canary: float
    share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    look: Look = Look.HYBRID

    def __post_init__(self) -> None:
        check_inside_unit(share=self.share, alpha=self.alpha, power=self.power)
        check_counts(
            variance_primary=self.variance_primary, variance_canary=self.variance_canary
        )
        if self.power <= self.alpha / 2:
            message = f"power is {self.power}; chance alone gives alpha/2 = {self.alpha / 2}"
            raise Invalid(message)

    @property
    def information(self) -> float:
        """Labels, of both arms together, times the squared distance they can show."""
        z = float(ndtri(1 - self.alpha / 2) + ndtri(self.power))
        spread = self.variance_canary / self.share + self.variance_primary / (1 - self.share)
        return z * z * spread * INFLATION[self.look]


def rate_variance(rate: float) -> float:
    """Variance p (1 - p) of one yes-or-no label.

    Raises:
        Invalid: A rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        message = f"a rate is {rate}; a number from 0 to 1 was expected"
        raise Invalid(message)
    return rate * (1 - rate)


def share_factor(share: float) -> float:
    """How many times the labels of an even split an uneven one needs: 1 / (4 rho (1 - rho)).

    Exact when both arms have the same variance. 25.3 at a share of 1 %, 1 at 50 %.

    Raises:
        Invalid: A share outside (0, 1).
    """
    check_inside_unit(share=share)
    return 1 / (4 * share * (1 - share))


def labels_needed(planned: Planned, distance: float) -> int:
    """Labels, of both arms together, to see a distance with the planned power.

    n = (z_{1-alpha/2} + z_power)^2 (v_canary / rho + v_primary / (1 - rho)) / distance^2,
    times the price of looking (`INFLATION`). Normal approximation: too small for rates
    whose rarer outcome is expected fewer than about 30 times in the smaller arm.

    Args:
        distance: Of the expected difference from the value to be ruled out, in the label's
            unit, above 0. For superiority the effect; for non-inferiority margin plus
            expected effect.

    Raises:
        Invalid: The distance is not above 0.

    Source:
        Fleiss, Levin & Paik, "Statistical methods for rates and proportions" (2003),
        section 4.2, without the pooled null variance.
    """
    check_positive(distance=distance)
    return math.ceil(planned.information / distance**2)


def detectable_distance(planned: Planned, labels: float) -> float:
    """The smallest distance that so many labels of both arms show with the planned power.

    The inverse of `labels_needed`: for superiority the minimum detectable effect.

    Raises:
        Invalid: The labels are not above 0.
    """
    check_positive(labels=labels)
    return math.sqrt(planned.information / labels)


def eta_s(labels_missing: float, labels_per_s: float) -> float | None:
    """Seconds until the missing labels are there at the present rate.

    Returns:
        0 when none is missing; None when none is coming.
    """
    if labels_missing <= 0:
        return 0.0
    return labels_missing / labels_per_s if labels_per_s > 0 else None


@dataclass(frozen=True, slots=True)
class Reading:
    """An estimate as it stands, with the way its interval is drawn.

    Args:
        estimate, se: In the metric's unit; se above 0.
        tau: The mixture's scale.
        alpha: Of the confidence sequence.
    """

    estimate: float
    se: float
    tau: float
    alpha: float


def information_multiple(reading: Reading, bound: float) -> float | None:
    """By what factor the labels must grow for the interval to leave a bound behind.

    Solves |estimate - bound| = half_width(se / sqrt(multiple)) on the assumption that the
    estimate stays what it is, which it will not exactly: a projection, not a promise. Stage
    shares are assumed to stay too. Times the present labels it gives labels needed.

    Args:
        bound: What the interval must exclude: minus the margin, or 0.

    Returns:
        1 when the interval excludes it already; None when it never will, because the
        estimate lies on the bound.

    Raises:
        Invalid: Estimate or bound is not finite; or as `half_width`.
    """
    check_finite(estimate=reading.estimate, bound=bound)
    distance = abs(reading.estimate - bound)

    def excess(log_multiple: float) -> float:
        se = reading.se * math.exp(-log_multiple / 2)
        return float(half_width(se, reading.tau, reading.alpha)) - distance

    if excess(0.0) <= 0:
        return 1.0
    # The half-width falls with the error without end, so a large multiple brackets it. A
    # factor of e^60 stands for never.
    if distance <= 0 or excess(60.0) > 0:
        return None
    return math.exp(float(brentq(excess, 0.0, 60.0, xtol=1e-10)))
