"""What totals say of their calls before anything is inferred."""

import pytest

from sidecar.core.cells import Cell
from sidecar.core.results import Percentiles
from sidecar.core.summaries import summary_of
from sidecar.core.tallies import tally
from tests.measured import Made


def cell(*calls: Made) -> Cell:
    """Add calls up as a drain does, without the totals of their units."""
    changes = tally([], [call.facts for call in calls], {}).changes
    [totals] = changes.values()
    units = {call.unit_id for call in calls}
    return Cell({**totals, "units": len(units)})


def test_no_call_is_zeros_and_nulls() -> None:
    found = summary_of(Cell({}))
    assert (found.calls, found.units, found.sticky_units) == (0, 0, 0)
    assert (found.cost_usd, found.prompt_tokens, found.cached_tokens) == (None, None, None)
    assert found.latency_ms == found.ttft_ms == Percentiles(None, None, None)
    assert (found.outcomes, found.labels, found.calls_of_unknown_cost) == ({}, {}, 0)


def test_an_unknown_cost_is_not_a_cost_of_0() -> None:
    free, unknown = Made(cost_usd=0.0), Made(cost_usd=None, prompt_tokens=None)
    assert summary_of(cell(free)).cost_usd == 0
    found = summary_of(cell(unknown))
    assert (found.cost_usd, found.prompt_tokens, found.calls_of_unknown_cost) == (None, None, 1)
    both = summary_of(cell(free, unknown))
    assert (both.cost_usd, both.prompt_tokens, both.calls_of_unknown_cost) == (0, 320, 1)


def test_a_call_that_is_its_own_unit_is_not_sticky() -> None:
    own = Made(unit_source="call", unit_id="call-1")
    found = summary_of(cell(own, Made(unit_id="u-1"), Made(unit_id="u-1"), Made(unit_id="u-2")))
    assert (found.calls, found.units, found.sticky_units) == (4, 3, 2)


def test_a_percentile_is_within_a_tenth_of_the_truth() -> None:
    found = summary_of(cell(*(Made(latency_ms=float(ms)) for ms in range(1, 101))))
    assert (found.latency_ms.p50, found.latency_ms.p95) == pytest.approx((50, 95), rel=0.1)


def test_what_happened_is_counted_by_name() -> None:
    refused = Made(outcome="served", label=None, confidence=None, failure="refused")
    failed = Made(outcome="failed", label=None, confidence=None, served_by=None)
    found = summary_of(cell(Made(), refused, failed))
    assert found.outcomes == {"failed": 1, "served": 2}
    assert found.labels == {"relevant": 1}
    assert found.verdict_failures == {"refused": 1}
    assert found.served_by == {"judge-a": 2}
