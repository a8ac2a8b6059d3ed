"""Did the arms get the units they were designed to get?

If not, whatever drops units may depend on the arm, and no other number may be believed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import overload

import numpy as np
from scipy.special import gammaln, xlogy

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import FloatArray, check_counts, check_positive

# A false alarm freezes an experiment for good, so it must be rare; a true mismatch grows
# with traffic, so the strictness costs little time.
SRM_ALPHA = 0.001
SRM_LOG_E = math.log(1 / SRM_ALPHA)
# Worth a look by a person: a sound split gets here in 5 % of experiments at most.
SRM_WARN_LOG_E = math.log(20)
# Bets on shares some 5 points off the design (their standard deviation at one half), which
# is where real faults lie; 100 found a split of 52 to 48 after 10,500 units.
CONCENTRATION = 100.0

_ROUNDING = 1e-6  # shares come in basis points


class SampleRatio(StrEnum):
    """What a sample ratio says of an experiment."""

    OK = "ok"
    WARN = "warn"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class SplitStage:
    """Units assigned in one stage, and the probabilities they were assigned with.

    Count each unit once a stage, by its assigned arm, whatever became of its calls.

    Args:
        units: By arm.
        probabilities: By arm, in the same order; they sum to 1.
    """

    units: tuple[float, ...]
    probabilities: tuple[float, ...]


@overload
def dirichlet_multinomial_log_e(
    counts: Sequence[float], probabilities: Sequence[float], k: float = ...
) -> float: ...
@overload
def dirichlet_multinomial_log_e(
    counts: FloatArray, probabilities: Sequence[float], k: float = ...
) -> FloatArray: ...
def dirichlet_multinomial_log_e(
    counts: Sequence[float] | FloatArray,
    probabilities: Sequence[float],
    k: float = CONCENTRATION,
) -> float | FloatArray:
    """Weigh the evidence that units were not split as designed.

    `ln B(k theta + n) - ln B(k theta) - sum_i n_i ln theta_i` with `B` the multivariate beta
    function: a Dirichlet mixture centred on the design `theta`.

    Args:
        counts: Units by arm; or an array of shape (..., arms) for many experiments.
        probabilities: The design, by arm; they sum to 1. An arm of probability 0 must have
            no units.
        k: Concentration of the mixture.

    Returns:
        Log e-value (of shape (...) for an array); 0 without units, and with one arm only.
        Infinite if an arm of probability 0 has units: that cannot happen by chance.

    Raises:
        Invalid: Counts are negative or not finite, lengths differ, or the probabilities do
            not sum to 1.

    Source:
        Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022
        (arXiv 2011.03567), section 3.
    """
    observed = np.asarray(counts, float)
    design = np.asarray(probabilities, float)
    _check(observed, design, k)
    possible = design > 0
    n, prior = observed[..., possible], k * design[possible]
    log_e = (
        gammaln(prior.sum())
        - gammaln(prior).sum()
        + gammaln(prior + n).sum(axis=-1)
        - gammaln((prior + n).sum(axis=-1))
        - xlogy(n, design[possible]).sum(axis=-1)
    )
    impossible = observed[..., ~possible].any(axis=-1)
    answer: FloatArray = np.where(impossible, np.inf, log_e)
    return answer if isinstance(counts, np.ndarray) else float(answer)


def sample_ratio_log_e(stages: Sequence[SplitStage]) -> float:
    """Weigh the evidence of all stages together: their e-values multiply.

    Each stage's bet starts afresh on its own design, so the product is again an e-value,
    over a ramp of any length.

    Returns:
        Log e-value; 0 without units. Infinite as in `dirichlet_multinomial_log_e`.

    Raises:
        Invalid: As `dirichlet_multinomial_log_e`.

    Source:
        As `dirichlet_multinomial_log_e`.
    """
    return math.fsum(
        dirichlet_multinomial_log_e(stage.units, stage.probabilities) for stage in stages
    )


def read_sample_ratio(highest_log_e: float) -> SampleRatio:
    """Read the evidence so far.

    Args:
        highest_log_e: The highest of all looks (`sequential.latched`): a mismatch that once
            was certain does not become harmless by waiting.
    """
    if highest_log_e >= SRM_LOG_E:
        return SampleRatio.MISMATCH
    return SampleRatio.WARN if highest_log_e >= SRM_WARN_LOG_E else SampleRatio.OK


def _check(observed: FloatArray, design: FloatArray, k: float) -> None:
    check_counts(counts=observed, probabilities=design)
    check_positive(k=k)
    arms = observed.shape[-1] if observed.ndim else 0
    if design.ndim != 1 or arms != len(design):
        msg = f"each arm needs one count and one probability, found {arms} and {design.size}"
        raise Invalid(msg)
    if abs(design.sum() - 1) > _ROUNDING:
        msg = f"the arms' probabilities sum to 1, found {design.sum()}"
        raise Invalid(msg)
