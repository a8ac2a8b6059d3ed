"""When several questions are asked at once, which of the answers still count?

Each function controls the chance of a wrong answer over the whole family of questions;
none of them needs the questions to be independent.
"""

import math
from collections.abc import Sequence

from sidecar.core.errors import Invalid
from sidecar.core.stats.checks import check_inside_unit


def union_log_threshold(tests: int, alpha: float) -> float:
    """Log e-value each of some tests must reach, so that any false alarm has rate alpha.

    ln(m / alpha): Bonferroni on the e-scale. By Ville's inequality an e-process reaches
    1/alpha ever with probability alpha at most, so the m of them together stay within alpha
    at all looks.

    Args:
        tests: How many share alpha, m. With none nothing can be found: infinity.
        alpha: In (0, 1), for the whole family.

    Raises:
        Invalid: A negative number of tests, or alpha outside (0, 1).

    Source:
        Howard et al., "Time-uniform Chernoff bounds via nonnegative supermartingales"
        (2020), for Ville's inequality; the union bound.
    """
    check_inside_unit(alpha=alpha)
    if tests < 0:
        message = f"{tests} tests; 0 or more were expected"
        raise Invalid(message)
    return math.log(tests / alpha) if tests else math.inf


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; below alpha, reject.

    Sorted upwards, the i-th of m is multiplied by m - i + 1, made monotone, and cut at 1.
    Rejecting all below alpha keeps the chance of any false rejection within alpha, whatever
    the dependence. Always-valid p-values may be used: then it holds at every look.

    Raises:
        Invalid: A value outside [0, 1].

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
        Journal of Statistics 6 (1979).
    """
    for p in p_values:
        if not 0 <= p <= 1:
            message = f"a p-value is {p}; a number from 0 to 1 was expected"
            raise Invalid(message)
    adjusted = [1.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        reached = max(reached, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(reached, 1.0)
    return adjusted


def e_bh(log_e_values: Sequence[float], alpha: float) -> list[bool]:
    """Which of many e-values count, with a false discovery rate of alpha at most.

    The largest k with e_(k) >= m / (k alpha) gives the k largest e-values. Any dependence;
    for dashboards of many experiments or segments, not for decisions on one experiment.

    Args:
        log_e_values: Natural logarithms; minus infinity is allowed.
        alpha: In (0, 1).

    Returns:
        In the order given, whether each is a discovery.

    Raises:
        Invalid: A value that is not a number, or alpha outside (0, 1).

    Source:
        Wang & Ramdas, "False discovery rate control with e-values", JRSS B 84 (2022).
    """
    check_inside_unit(alpha=alpha)
    if any(math.isnan(value) for value in log_e_values):
        message = "a log e-value is not a number"
        raise Invalid(message)
    tests, cut = len(log_e_values), math.inf
    for k, value in enumerate(sorted(log_e_values, reverse=True), start=1):
        if value >= math.log(tests / (k * alpha)):
            cut = value
    return [value >= cut for value in log_e_values]
