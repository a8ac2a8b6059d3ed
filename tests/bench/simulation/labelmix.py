"""How wrong is the rule that this project's sources used? The negative control.

Chi-squared on the arms' label mix at p < 0.05; if significant, the arm whose answers people
let stand more often, by 5 percentage points, is better. Only answers that people happened to
review count, and they review what they doubt. A harness that lets this rule pass is broken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench.simulation.findings import Findings, at_least

Array = NDArray[np.float64]
LOOKS = 100
PER_ARM = 20  # judgments of each arm between two looks
MIX = (0.35, 0.50, 0.15)
REVIEWED_IF_RIGHT, REVIEWED_IF_WRONG = 0.02, 0.08
CHI_SQUARED_05 = 5.991464547107979  # of two degrees of freedom
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rule says at each look; arrays of shape (experiments, looks)."""

    significant: NDArray[np.bool_]
    promote: NDArray[np.bool_]
    keep: NDArray[np.bool_]


def rule(rng: np.random.Generator, runs: int, primary: float, canary: float) -> Verdicts:
    """Apply it to experiments whose arms have the same label mix and these accuracies."""
    mixes = [np.cumsum(rng.multinomial(PER_ARM, MIX, (runs, LOOKS)), axis=1) for _ in range(2)]
    significant = _chi_squared(*mixes) > CHI_SQUARED_05
    gain = _standing(rng, runs, canary) - _standing(rng, runs, primary)
    return Verdicts(significant, significant & (gain > 0.05), significant & (gain < -0.05))


def control(rng: np.random.Generator, runs: int) -> Findings:
    """D2.9: identical arms must be "promoted" by it far too often, and harm go unseen."""
    promoted = significant = missed = 0
    for start in range(0, runs, CHUNK):
        size = min(CHUNK, runs - start)
        same = rule(rng, size, 0.80, 0.80)
        promoted += int(same.promote.any(axis=1).sum())
        significant += int(same.significant.any(axis=1).sum())
        missed += int((~rule(rng, size, 0.85, 0.75).keep[:, -1]).sum())
    # README finding 1: 37.7 % significant, 18.7 % promoted; 95.9 % of the harm unseen.
    name = "must fail: label-mix rule, A/A significant at some look"
    yield at_least(name, significant / runs, runs, 0.25)
    name = "must fail: label-mix rule, A/A promoted at some look"
    yield at_least(name, promoted / runs, runs, 0.15)
    name = "must fail: label-mix rule, canary 10 pp worse not seen at the end"
    yield at_least(name, missed / runs, runs, 0.90)


def _standing(rng: np.random.Generator, runs: int, accuracy: float) -> Array:
    """Share of reviewed answers that stood; 0 where none was reviewed, as the rule has it."""
    right = rng.binomial(PER_ARM, accuracy, (runs, LOOKS))
    stood = np.cumsum(rng.binomial(right, REVIEWED_IF_RIGHT), axis=1)
    changed = np.cumsum(rng.binomial(PER_ARM - right, REVIEWED_IF_WRONG), axis=1)
    return stood / np.maximum(stood + changed, 1)


def _chi_squared(one: NDArray[np.int64], other: NDArray[np.int64]) -> Array:
    """Of the 2 by 3 tables of labels by arm, arms of equal size."""
    expected = np.maximum((one + other) / 2, 1e-9)
    return ((one - expected) ** 2 / expected + (other - expected) ** 2 / expected).sum(axis=-1)
