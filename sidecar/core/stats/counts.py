"""Are bad events too frequent in the canary? Exact from the first event on, at every look.

Given that an event happened, it happened in the canary with a probability that depends
only on the designed share and on the ratio of the two arms' rates, not on the rates. So
error rates may drift and shares may ramp: each stage conditions on its own share. Nothing
here is asymptotic, and nothing needs a minimum count.

It is exact where what is counted is what was assigned: count units with at least one bad
event, not bad calls, when a unit brings several. It presumes that the split is as designed;
`srm` watches that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, expit, logit, logsumexp

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import (
    FloatArray,
    Number,
    check_counts,
    check_finite,
    check_inside_unit,
    check_positive,
    plain,
)

# Bets on log risk ratios, weighed like a normal of standard deviation 1: most of the stake
# is on ratios up to 2.7, some on 25, so both a doubling and a collapse are found early.
_SPACING = 0.08
_ABOVE: FloatArray = _SPACING * np.arange(1.0, 41.0)
_AROUND: FloatArray = _SPACING * np.arange(-40.0, 41.0)


def _log_weights(grid: FloatArray) -> FloatArray:
    log_density = -0.5 * grid**2
    weights: FloatArray = log_density - logsumexp(log_density)
    return weights


_LOG_WEIGHT_ABOVE = _log_weights(_ABOVE)
_LOG_WEIGHT_AROUND = _log_weights(_AROUND)


@dataclass(frozen=True, slots=True)
class RateStage:
    """Events of one kind in one stage, by arm.

    Args:
        canary: Events in the canary.
        primary: Events in the primary.
        share: Designed probability that a unit of these two arms is the canary's. With
            further arms, `share_canary / (share_canary + share_primary)`. At 0 or 1 there
            was nothing to compare, and the stage adds nothing.

    Raises:
        Invalid: A count is negative or not finite, or the share is outside [0, 1].
    """

    canary: float
    primary: float
    share: float

    def __post_init__(self) -> None:
        check_counts(canary=self.canary, primary=self.primary)
        if not 0 <= self.share <= 1:
            msg = f"a share is between 0 and 1, found {self.share}"
            raise Invalid(msg)


def risk_ratio_log_e(stages: Sequence[RateStage], max_ratio: float) -> float:
    """Weigh the evidence that the canary's rate is above `max_ratio` times the primary's.

    `ln sum_j w_j prod_s (t_s(r_j) / t_s(r_0))^c_s ((1 - t_s(r_j)) / (1 - t_s(r_0)))^p_s` with
    `t_s(r) = share_s r / (share_s r + 1 - share_s)`, `r_0 = max_ratio` and 40 ratios `r_j`
    above it. Under any true ratio up to `max_ratio` it exceeds `ln(1 / alpha)` at some look
    with probability at most `alpha`.

    Args:
        stages: Events so far, by stage.
        max_ratio: The highest ratio that is still acceptable; 1.25 is 25 % more events.

    Returns:
        Log e-value; 0 without events. Breached at `ln(m / alpha)` for `m` guardrails.

    Raises:
        Invalid: `max_ratio` is not above 0.

    Source:
        Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022
        (arXiv 2011.03567), inhomogeneous Bernoulli case, with a discrete mixture.
    """
    comparable = _comparable(stages)
    if not comparable:
        check_positive(max_ratio=max_ratio)
        return 0.0
    canary, primary, shares = _columns(comparable)
    return float(risk_ratio_log_es(canary, primary, shares, max_ratio))


def risk_ratio_log_es(
    canary: FloatArray, primary: FloatArray, shares: FloatArray, max_ratio: float
) -> FloatArray:
    """Do `risk_ratio_log_e` for many experiments at once.

    Args:
        canary: Events, shape (..., stages).
        primary: Of the same shape.
        shares: Shape (stages,), each inside (0, 1).
        max_ratio: As in `risk_ratio_log_e`.

    Returns:
        Log e-values of shape (...).

    Raises:
        Invalid: A count is negative or not finite, a share outside (0, 1), or `max_ratio`
            not above 0.
    """
    check_counts(canary=canary, primary=primary)
    check_positive(max_ratio=max_ratio)
    odds = logit(shares) + math.log(max_ratio)
    check_finite(shares=odds)
    # With x the log odds of "in the canary": c ln t + p ln(1 - t) = c x - (c + p) ln(1 + e^x).
    steps = np.logaddexp(0, odds + _ABOVE[:, None]) - np.logaddexp(0, odds)
    gains = canary.sum(axis=-1)[..., None] * _ABOVE - (canary + primary) @ steps.T
    log_e: FloatArray = logsumexp(gains + _LOG_WEIGHT_ABOVE, axis=-1)
    return log_e


@dataclass(frozen=True, slots=True)
class RiskRatio:
    """Canary's rate over primary's, with a confidence sequence.

    Args:
        estimate: The likeliest ratio. None without events; infinite if the primary had none.
        low: 0 where nothing bounds it from below.
        high: Infinite where nothing bounds it from above.
        log_e_at_one: Evidence that the rates differ at all, in either direction.
    """

    estimate: float | None
    low: float
    high: float
    log_e_at_one: float


def risk_ratio_sequence(stages: Sequence[RateStage], alpha: float) -> RiskRatio:
    """Bracket the ratio of the rates so that all looks together miss it with `alpha`.

    `{r : ln sum_j w_j L(r_j) - ln L(r) < ln(1 / alpha)}` with `L` the conditional likelihood
    of `risk_ratio_log_e` and `ln r_j` from -3.2 to 3.2. The grid limits the bets, not the
    interval.

    Raises:
        Invalid: `alpha` is not inside (0, 1).

    Source:
        As `risk_ratio_log_e`, by inverting Ville's inequality.
    """
    check_inside_unit(alpha=alpha)
    comparable = [stage for stage in _comparable(stages) if stage.canary + stage.primary > 0]
    if not comparable:
        return RiskRatio(None, 0.0, math.inf, 0.0)
    likelihood = _Likelihood(comparable)
    mixed = logsumexp(likelihood.logs(_AROUND) + _LOG_WEIGHT_AROUND)
    best = likelihood.best()
    floor = float(mixed) + math.log(alpha)

    def spare(x: float) -> float:
        return likelihood.log(x) - floor

    # Without events in an arm nothing bounds the ratio on that arm's side.
    low = 0.0 if likelihood.canary == 0 else math.exp(_crossing(spare, best, -1.0))
    high = math.inf if likelihood.primary == 0 else math.exp(_crossing(spare, best, 1.0))
    return RiskRatio(_ratio(likelihood, best), low, high, float(mixed) - likelihood.log(0.0))


def beta_binomial_log_e(k1: Number, k0: Number, theta: float, k: float = 10.0) -> Number:
    """Weigh the evidence that the first of two kinds does not have probability `theta`.

    `ln B(k theta + k1, k (1 - theta) + k0) - ln B(k theta, k (1 - theta)) - k1 ln theta
    - k0 ln(1 - theta)`: a Beta mixture centred on `theta`. With `theta = 1/2` and the two
    kinds of discordant pairs it is a sequential McNemar test.

    Args:
        k1: Count of the first kind; may be an array, as may `k0`.
        k0: Count of the second.
        theta: Inside (0, 1).
        k: Concentration of the mixture: the larger, the smaller the deviations it looks for.
            At 10 and one half, its bets deviate by 0.15 (one standard deviation).

    Returns:
        Log e-value; 0 without counts.

    Raises:
        Invalid: A count is negative or not finite, `theta` outside (0, 1), `k` not above 0.

    Source:
        Robbins 1970; Lindon and Malek 2022, section 3, with two categories.
    """
    check_counts(k1=k1, k0=k0)
    check_inside_unit(theta=theta)
    check_positive(k=k)
    a, b = k * theta, k * (1 - theta)
    expected: Number = k1 * math.log(theta) + k0 * math.log1p(-theta)
    log_e: Number = np.subtract(betaln(a + k1, b + k0), betaln(a, b) + expected)
    return plain(log_e)


def mean_log_e(log_es: Sequence[float]) -> float | None:
    """Join e-values of one hypothesis by their mean, whatever their dependence.

    Args:
        log_es: For a shift of the label mix, `log_e_at_one` of each label: the labels of one
            call exclude each other, so their e-values must not be multiplied.

    Returns:
        The log of the mean e-value; None of none.

    Source:
        Vovk and Wang, "E-values: calibration, combination and applications", Annals of
        Statistics 2021, section 3: the mean is the best symmetric way.
    """
    if not log_es:
        return None
    return float(logsumexp(log_es)) - math.log(len(log_es))


class _Likelihood:
    """Log-likelihood of a log risk ratio, given how many events each stage had."""

    def __init__(self, stages: Sequence[RateStage]) -> None:
        canary, primary, shares = _columns(stages)
        self.canary, self.primary = float(canary.sum()), float(primary.sum())
        self._events = canary + primary
        self._odds: FloatArray = logit(shares)
        self._fixed = float(canary @ self._odds)

    def log(self, x: float) -> float:
        odds = self._odds + x
        return self._fixed + self.canary * x - float(self._events @ np.logaddexp(0, odds))

    def logs(self, x: FloatArray) -> FloatArray:
        """Give `log` at several places at once."""
        odds = self._odds[:, None] + x
        found: FloatArray = self._fixed + self.canary * x - self._events @ np.logaddexp(0, odds)
        return found

    def _slope(self, x: float) -> float:
        return self.canary - float(self._events @ expit(self._odds + x))

    def best(self) -> float:
        """Find the likeliest log ratio, or a place to search from if an arm has no events."""
        # With no event in an arm the optimum is at infinity; half an event stands for none.
        overall = math.log((self.canary or 0.5) / (self.primary or 0.5))
        if self.canary == 0 or self.primary == 0:
            return overall - float(np.average(self._odds, weights=self._events))
        nearest, farthest = overall - float(self._odds.max()), overall - float(self._odds.min())
        if farthest - nearest < 1e-12:  # noqa: PLR2004 - one share: the optimum in closed form
            return nearest
        return float(brentq(self._slope, nearest - 1e-9, farthest + 1e-9))


def _ratio(likelihood: _Likelihood, best: float) -> float:
    if likelihood.canary == 0:
        return 0.0
    return math.inf if likelihood.primary == 0 else math.exp(best)


def _crossing(spare: Callable[[float], float], start: float, step: float) -> float:
    """Find where a concave function crosses 0, walking from `start` with growing steps."""
    inner, outer = start, start + step
    while spare(outer) > 0:
        inner, outer, step = outer, outer + 2 * step, 2 * step
    while spare(inner) <= 0:
        inner -= step
    return float(brentq(spare, min(inner, outer), max(inner, outer)))


def _comparable(stages: Sequence[RateStage]) -> list[RateStage]:
    return [stage for stage in stages if 0 < stage.share < 1]


def _columns(stages: Sequence[RateStage]) -> tuple[FloatArray, FloatArray, FloatArray]:
    table = np.array([(stage.canary, stage.primary, stage.share) for stage in stages], float)
    return table[:, 0], table[:, 1], table[:, 2]
