"""Is the goal's confidence sequence as often wrong as it says, and as sharp as it should be?"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sidecar.core.stats.proportions import (
    GATE_EXPECTED_MINORITY,
    MIN_LABELLED_CANARY,
    stratified_differences,
)
from sidecar.core.stats.sequential import half_width
from sidecar.core.stats.spending import Spending
from tests.bench.simulation.findings import Findings, at_least, at_most, near

Array = NDArray[np.float64]
SHARES = (0.5, 0.25, 0.1, 0.05, 0.01)
RATES = (0.6, 0.8, 0.9, 0.95, 0.99)
MARGIN = 0.03
CHUNK = 1000  # experiments at a time: 200 looks of them stay within some tens of megabytes


@dataclass(frozen=True, slots=True)
class Labels:
    """How the labels of one experiment come in.

    Args:
        primary, canary: Each arm's true agreement.
        share: The canary's, of the labels.
        per_look: Labels of both arms between two looks.
    """

    primary: float
    canary: float
    share: float
    per_look: int
    looks: int = 200

    @property
    def difference(self) -> float:
        return self.canary - self.primary


@dataclass(frozen=True, slots=True)
class Paths:
    """What each look of each experiment reads; arrays of shape (experiments, looks)."""

    estimate: Array
    se: Array
    is_open: NDArray[np.bool_]

    def half(self, tau: float, spending: Spending) -> Array:
        """Half-widths; the last look is the horizon's, when one is spent on."""
        half = half_width(self.se, tau, spending.alpha_sequential)
        if spending.horizon_look:
            last = spending.z_at_horizon * self.se[:, -1]
            half[:, -1] = np.minimum(half[:, -1], last)
        return half


def simulate(rng: np.random.Generator, labels: Labels, runs: int) -> Paths:
    """Draw experiments and read them with the product's estimator and gate."""
    canary = rng.binomial(labels.per_look, labels.share, (runs, labels.looks))
    primary = labels.per_look - canary
    counts = [
        np.cumsum(drawn, axis=1, dtype=float)[..., None]
        for drawn in (
            primary,
            rng.binomial(primary, labels.primary),
            canary,
            rng.binomial(canary, labels.canary),
        )
    ]
    estimate, se, minority = stratified_differences(*counts)
    is_open = (minority >= GATE_EXPECTED_MINORITY) & (counts[2][..., 0] >= MIN_LABELLED_CANARY)
    # Before the gate nothing is read, so any finite number does.
    return Paths(np.where(is_open, estimate, 0.0), np.where(is_open, se, 1.0), is_open)


def error_rates(
    rng: np.random.Generator, labels: Labels, runs: int, threshold: float
) -> tuple[float, float]:
    """Shares of experiments that ever leave a threshold above, and below."""
    above = below = 0
    for size in _chunks(runs):
        paths = simulate(rng, labels, size)
        half = paths.half(MARGIN, Spending(0.05, horizon_look=False))
        above += int((paths.is_open & (paths.estimate - half > threshold)).any(axis=1).sum())
        below += int((paths.is_open & (paths.estimate + half < threshold)).any(axis=1).sum())
    return above / runs, below / runs


def labels_per_look(rate: float, share: float) -> int:
    """At least 20,000 labels in 200 looks, and enough to open the gate well before the end."""
    rarest = min(share, 1 - share) * min(rate, 1 - rate)
    return max(100, math.ceil(1.5 / rarest))


def grid(rng: np.random.Generator, runs: int) -> Findings:
    """D2.1 and D2.2: wrong promotions and rollbacks at any of 200 looks, 25 designs."""
    for share in SHARES:
        for rate in RATES:
            same = Labels(rate, rate, share, labels_per_look(rate, share))
            edge = replace(same, canary=rate - MARGIN)
            for kind, labels, threshold in (("A/A", same, 0.0), ("margin", edge, -MARGIN)):
                rates = error_rates(rng, labels, runs, threshold)
                for side, found in zip(("promote", "rollback"), rates, strict=True):
                    name = f"{kind} share {share:g} rate {rate:g} wrong {side}"
                    yield at_most(name, found, runs, 0.025)


def coverage(rng: np.random.Generator, runs: int) -> Findings:
    """D2.7: the truth in the interval at all looks, and where the experiment stops."""
    for labels in (
        Labels(0.80, 0.85, 0.5, 50),
        Labels(0.80, 0.85, 0.1, 100),
        Labels(0.80, 0.80, 0.5, 50),
    ):
        everywhere = at_stop = 0
        for size in _chunks(runs):
            paths = simulate(rng, labels, size)
            half = paths.half(0.05, Spending(0.05, horizon_look=False))
            held = (np.abs(paths.estimate - labels.difference) <= half) | ~paths.is_open
            stop = _first(paths.is_open & (np.abs(paths.estimate) > half))
            everywhere += int(held.all(axis=1).sum())
            at_stop += int(held[np.arange(size), stop].sum())
        design = f"{labels.primary:g} against {labels.canary:g}, share {labels.share:g}"
        yield at_least(f"coverage at all looks, {design}", everywhere / runs, runs, 0.95)
        yield at_least(f"coverage when stopping, {design}", at_stop / runs, runs, 0.95)


def found_by(
    rng: np.random.Generator, labels: Labels, runs: int, *, spending: Spending, tau: float
) -> tuple[Array, Array]:
    """Labels each experiment took to exclude 0 (or all), and whether it did."""
    taken, found = [], []
    for size in _chunks(runs):
        paths = simulate(rng, labels, size)
        out = paths.is_open & (np.abs(paths.estimate) > paths.half(tau, spending))
        taken.append((_first(out) + 1.0) * labels.per_look)
        found.append(out.any(axis=1))
    return np.concatenate(taken), np.concatenate(found)


SIZES = (
    # README D3, the gated mixture: labels of both arms taken on average.
    (Labels(0.80, 0.85, 0.5, 50), 0.05, 2038),
    (Labels(0.80, 0.85, 0.1, 100), 0.05, 5045),
    (Labels(0.80, 0.90, 0.5, 20), 0.10, 587),
)


def power(rng: np.random.Generator, runs: int) -> Findings:
    """D2.8: labels taken and power, within a tenth of what the study found."""
    always = Spending(0.05, horizon_look=False)
    for labels, tau, known in SIZES:
        taken, found = found_by(rng, labels, runs, spending=always, tau=tau)
        design = f"{labels.primary:g} against {labels.canary:g}, share {labels.share:g}"
        yield near(f"mean labels, {design}", taken.mean(), known, 0.1)
        if labels is SIZES[0][0]:
            yield near(f"median labels, {design}", float(np.median(taken)), 1750, 0.1)
            for labels_read, share in ((1805, 0.495), (3610, 0.87)):
                seen = float((found & (taken <= labels_read)).mean())
                yield near(f"power at {labels_read} labels, {design}", seen, share, 0.1)
    yield from _hybrid(rng, runs)


def _hybrid(rng: np.random.Generator, runs: int) -> Findings:
    """Half of alpha at a horizon of 1.25 times the labels of a test read once (1,805)."""
    labels = Labels(0.80, 0.85, 0.5, 50, looks=45)
    taken, found = found_by(rng, labels, runs, spending=Spending(0.05), tau=0.05)
    yield near("hybrid: power at its horizon", float(found.mean()), 0.81, 0.1)
    yield near("hybrid: mean labels", taken.mean(), 1798, 0.1)
    same = replace(labels, canary=0.80)
    _, wrong = found_by(rng, same, runs, spending=Spending(0.05), tau=0.05)
    yield at_most("hybrid: A/A wrong either way", float(wrong.mean()), runs, 0.05)


def naive(rng: np.random.Generator, runs: int) -> Findings:
    """What looking costs without a sequence: the harness must see it."""
    labels, wrong = Labels(0.80, 0.80, 0.5, 50), 0
    for size in _chunks(runs):
        paths = simulate(rng, labels, size)
        out = paths.is_open & (np.abs(paths.estimate) > 1.959963984540054 * paths.se)
        wrong += int(out.any(axis=1).sum())
    # README D3: 41 % of A/A comparisons.
    name = "must fail: ordinary interval at 200 looks, A/A wrong either way"
    yield at_least(name, wrong / runs, runs, 0.35)


def _first(out: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of the first look that is out; of the last look, when none is."""
    return np.where(out.any(axis=1), out.argmax(axis=1), out.shape[1] - 1)


def _chunks(runs: int) -> list[int]:
    return [min(CHUNK, runs - start) for start in range(0, runs, CHUNK)]
