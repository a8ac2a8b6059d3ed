"""What do some cells' totals say of their calls, before anything is inferred?"""

from sidecar.core.cells import Cell
from sidecar.core.results import Percentiles, Summary
from sidecar.core.stats.quantiles import quantiles

_NAMED = {
    "outcomes": "outcome",
    "labels": "label",
    "verdict_failures": "failure",
    "served_by": "served_by",
}


def summary_of(cell: Cell) -> Summary:
    """Describe the calls of a cell, or of several that were added."""
    units = cell.units.units
    return Summary(
        calls=cell.calls,
        units=units,
        # A call without a unit of its own is one, so what is left are the others.
        sticky_units=units - (cell.calls - cell.count("sticky_calls")),
        **{name: dict(sorted(cell.kinds(kind).items())) for name, kind in _NAMED.items()},
        latency_ms=_percentiles(cell, "latency"),
        ttft_ms=_percentiles(cell, "ttft"),
        prompt_tokens=cell.tokens("prompt_tokens"),
        completion_tokens=cell.tokens("completion_tokens"),
        cached_tokens=cell.tokens("cached_tokens"),
        cost_usd=cell.cost_usd,
        calls_of_unknown_cost=cell.calls - cell.count("cost_known"),
    )


def _percentiles(cell: Cell, kind: str) -> Percentiles:
    counts = {bucket: float(n) for bucket, n in cell.durations(kind).items()}
    return Percentiles(*quantiles(counts, (0.5, 0.95, 0.99)))
