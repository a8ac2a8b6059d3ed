"""Latencies are described by percentiles, and compared by their logarithms."""

import math

import pytest

from sidecar.core.cells import Cell
from sidecar.core.facts import bucket_of, ll_of
from sidecar.core.latency import latency_finding
from sidecar.core.pairing import Pairing
from tests.cells import cell


def timed(latencies_ms: list[float]) -> Cell:
    lls = [ll_of(ms) for ms in latencies_ms]
    buckets = [bucket_of(ll) for ll in lls]
    return cell(
        len(lls),
        ll=sum(lls),
        ll2=sum(ll * ll for ll in lls),
        ll_n=sum(lls),
        **{f"latency:{b}": buckets.count(b) for b in set(buckets)},
    )


def test_a_canary_that_is_twice_as_slow_is_seen_to_be() -> None:
    fast = [100.0 * 1.01**i for i in range(200)]
    pair = Pairing(1, 0.5, timed(fast), timed([2 * ms for ms in fast]))
    found = latency_finding([pair], "canary", 0.05)

    assert found.ratio == pytest.approx(2.0, rel=1e-5)
    assert found.interval is not None
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert 1 < low < 2 < high
    # The middle of a geometric sequence, to the 2 % that a bucket allows.
    middle = found.primary[0]
    assert middle.estimate_ms == pytest.approx(100 * 1.01**99.5, rel=0.03)
    assert middle.interval_ms is not None
    assert middle.interval_ms[0] < middle.estimate_ms < middle.interval_ms[1]
    assert found.canary[1].q == 0.95


def test_drift_between_stages_is_no_difference_between_arms() -> None:
    day, night = [200.0, 220.0] * 60, [900.0, 990.0] * 60
    pairs = [
        Pairing(1, 0.1, timed(day * 9), timed(day)),
        Pairing(2, 0.5, timed(night), timed(night)),
    ]

    assert latency_finding(pairs, "canary", 0.05).ratio == pytest.approx(1.0)


def test_without_calls_there_is_nothing_to_tell() -> None:
    found = latency_finding([Pairing(1, 0.5, Cell({}), Cell({}))], "canary", 0.05)

    assert (found.ratio, found.interval, found.primary, found.canary) == (None, None, (), ())


def test_few_calls_give_percentiles_with_open_ends_and_no_ratio() -> None:
    found = latency_finding([Pairing(1, 0.5, timed([5.0]), timed([7.0]))], "canary", 0.05)

    assert found.ratio is None
    assert found.canary[0].estimate_ms == pytest.approx(7, rel=0.03)
    assert found.canary[0].interval_ms == (0.0, None)
    assert not math.isnan(found.canary[1].estimate_ms)
