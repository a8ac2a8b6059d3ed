"""Do calls of one unit, which resemble each other, make a difference look surer than it is?"""

import numpy as np
from numpy.typing import NDArray

from sidecar.core.stats.means import MeanStratum, UnitTotals, mean_difference
from sidecar.core.stats.sequential import half_width
from tests.bench.simulation.findings import Findings, at_least, at_most

Array = NDArray[np.float64]
LOOKS = 40
UNITS_PER_LOOK = 10  # of each arm: 800 units in all
TAU = 0.05


def clustered(rng: np.random.Generator, runs: int) -> Findings:
    """D2.4: units that differ by 0.1 and by 0.25 in their rates, about ten calls each, A/A."""
    size = max(runs // 5, 50)
    for spread in (0.1, 0.25):
        wrong, careless = error_rates(rng, size, spread)
        yield at_most(f"units that differ by {spread:g}, A/A wrong", wrong, size, 0.05)
    # README D3: 31 %.
    name = "must fail: calls taken as independent, A/A wrong"
    yield at_least(name, careless, size, 0.2)


def error_rates(rng: np.random.Generator, runs: int, spread: float) -> tuple[float, float]:
    """Shares of A/A experiments wrong at some look: by units, and by calls."""
    wrong = careless = 0
    for _ in range(runs):
        by_unit, by_call = _experiment(rng, spread)
        wrong += by_unit
        careless += by_call
    return wrong / runs, careless / runs


def _experiment(rng: np.random.Generator, spread: float) -> tuple[bool, bool]:
    primary, canary = _sums(rng, spread), _sums(rng, spread)
    by_unit = by_call = False
    for look in range(LOOKS):
        arms = [UnitTotals(*map(float, sums[look])) for sums in (primary, canary)]
        found = mean_difference([MeanStratum(*arms)])
        if found is None or not found.gate_open:
            continue
        by_unit |= abs(found.estimate) > half_width(found.se, TAU, 0.05)
        rates = [arm.sum_x / arm.n for arm in arms]
        independent = sum(r * (1 - r) / arm.n for r, arm in zip(rates, arms, strict=True))
        by_call |= abs(found.estimate) > half_width(independent**0.5, TAU, 0.05)
    return by_unit, by_call


def _sums(rng: np.random.Generator, spread: float) -> Array:
    """The fields of `UnitTotals` at each look; shape (looks, 6)."""
    shape = (LOOKS, UNITS_PER_LOOK)
    calls = 1 + rng.poisson(9, shape)
    hits = rng.binomial(calls, np.clip(rng.normal(0.8, spread, shape), 0, 1))
    columns = (np.ones(shape), calls, hits, hits**2, hits * calls, calls**2)
    return np.cumsum(np.stack(columns, axis=-1).sum(axis=1), axis=0, dtype=float)
