"""What was measured, and what must it be?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scipy.stats import betabinom, binom

PRINTED = 0.001  # the study's rates are given to three decimals
CHANCE = 0.00135  # on each side, as three standard errors: 200 numbers are read at once


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured number with the bounds it must keep."""

    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def holds(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        verdict = "" if self.holds else "  BROKEN"
        return f"{self.name}: {_shown(self.value)} ({self._bound()}){verdict}"

    def _bound(self) -> str:
        if self.low == -math.inf:
            return f"at most {_shown(self.high)}"
        if self.high == math.inf:
            return f"at least {_shown(self.low)}"
        return f"from {_shown(self.low)} to {_shown(self.high)}"


Findings = Iterator[Finding]


def floor(rate: float, runs: int) -> float:
    """The lowest share that so many experiments show by chance, if the true rate is this."""
    return float(binom.ppf(CHANCE, runs, rate)) / runs


def ceiling(rate: float, runs: int) -> float:
    """The highest such share."""
    return float(binom.ppf(1 - CHANCE, runs, rate)) / runs


def at_most(name: str, rate: float, runs: int, bound: float) -> Finding:
    """An error rate that theory bounds."""
    return Finding(name, rate, high=ceiling(bound, runs))


def at_least(name: str, rate: float, runs: int, bound: float) -> Finding:
    """A share that theory, or a study, bounds from below."""
    return Finding(name, rate, low=floor(bound, runs))


def as_published(name: str, rate: float, runs: int, known: tuple[float, int]) -> Finding:
    """A rate that the study measured too, in so many runs of its own.

    The bounds are those of a prediction: the rate is as uncertain as the study's runs and its
    three printed digits leave it (Jeffreys' prior), and our runs add their own chance.
    """
    share, study_runs = known
    fewest = max(share - PRINTED / 2, 0.0) * study_runs
    most = min(share + PRINTED / 2, 1.0) * study_runs
    low = betabinom(runs, fewest + 0.5, study_runs - fewest + 0.5).ppf(CHANCE)
    high = betabinom(runs, most + 0.5, study_runs - most + 0.5).ppf(1 - CHANCE)
    return Finding(name, rate, low / runs, high / runs)


def near(name: str, value: float, known: float, within: float) -> Finding:
    """A size that the study measured, within a relative distance."""
    return Finding(name, value, low=known * (1 - within), high=known * (1 + within))


def _shown(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 10 else f"{number:.4f}"
