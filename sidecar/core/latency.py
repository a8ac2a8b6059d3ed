"""How much slower or faster does the canary answer? Described, never decided on.

What is decided on is the share beyond a frozen threshold, the guardrail `slow_share`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.cells import Cell
from sidecar.core.findings import Ends
from sidecar.core.pairing import EMPTY, Pairing, ends
from sidecar.core.stats.means import (
    MeanStratum,
    UnitTotals,
    geometric_mean_ratio,
    mean_difference,
)
from sidecar.core.stats.quantiles import quantile_sequence
from sidecar.core.stats.sequential import confidence_sequence

TAU = 0.1  # of logarithms: a tenth slower or faster is worth seeing
QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Percentile:
    """Of a latency over all stages, in ms, with an interval for every look.

    Args:
        q: 0.95 is the latency that 95 % of calls stay below.
        interval_ms: An end is None where there are too few calls to tell.
    """

    q: float
    estimate_ms: float
    interval_ms: Ends | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFinding:
    """The latencies of a canary and the primary.

    Args:
        primary, canary: Percentiles; empty without calls. Of all stages together, which saw
            different times, so compare them with care.
        ratio: The canary's geometric mean over the primary's, stage by stage: 1.1 is a
            tenth slower. None until each arm has 100 units.
        interval: Of the ratio, valid at every look.
    """

    name: str = "latency"
    arm: str
    role: str = "info"
    primary: tuple[Percentile, ...]
    canary: tuple[Percentile, ...]
    ratio: float | None
    interval: Ends | None


def latency_finding(pairs: Sequence[Pairing], canary: str, alpha: float) -> LatencyFinding:
    """Compare latencies over the stages that have both arms.

    Args:
        alpha: Of each interval by itself.
    """
    primary = sum((pair.primary for pair in pairs), EMPTY)
    other = sum((pair.canary for pair in pairs), EMPTY)
    found = mean_difference(
        MeanStratum(_logarithms(pair.primary), _logarithms(pair.canary)) for pair in pairs
    )
    ratio = None
    if found is not None and found.gate_open:
        interval = confidence_sequence(found.estimate, found.se, TAU, alpha)
        ratio = geometric_mean_ratio(found, interval)
    return LatencyFinding(
        arm=canary,
        primary=_percentiles(primary, alpha),
        canary=_percentiles(other, alpha),
        ratio=None if ratio is None else ratio.estimate,
        interval=None if ratio is None else (ratio.low, ratio.high),
    )


def _percentiles(cell: Cell, alpha: float) -> tuple[Percentile, ...]:
    histogram = {bucket: float(n) for bucket, n in cell.durations("latency").items()}
    read = {q: quantile_sequence(histogram, q, alpha) for q in QUANTILES}
    return tuple(
        Percentile(q, found.estimate_ms, ends(found.interval_ms))
        for q, found in read.items()
        if found is not None
    )


def _logarithms(cell: Cell) -> UnitTotals:
    moments = cell.units
    return UnitTotals(moments.units, cell.calls, cell.ll, moments.ll2, moments.ll_n, moments.nn)
