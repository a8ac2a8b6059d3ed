"""Does a histogram give the quantile of its calls, with an interval that may be watched?"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from sidecar.core.errors import Invalid
from sidecar.core.facts import bucket_of, ll_of
from sidecar.core.stats.counts import beta_binomial_log_e
from sidecar.core.stats.quantiles import (
    CONCENTRATION,
    edge_ms,
    merged,
    quantile,
    quantile_sequence,
)

latencies = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200)
histograms = st.dictionaries(st.integers(-50, 300), st.integers(0, 1_000), max_size=30)


def histogram(sample: np.ndarray) -> dict[int, int]:
    """Calls by bucket, as the SQL counts them."""
    buckets = np.floor(np.log(sample) / math.log(1.04)).astype(int)
    return {
        int(b): int(n) for b, n in zip(*np.unique(buckets, return_counts=True), strict=True)
    }


@given(st.floats(0.001, 1e7))
def test_a_latency_lies_between_its_buckets_edges(latency_ms: float) -> None:
    bucket = bucket_of(ll_of(latency_ms))  # of a logarithm in whole millionths
    assert edge_ms(bucket) * (1 - 1e-6) <= latency_ms <= edge_ms(bucket + 1) * (1 + 1e-6)


@settings(deadline=None)
@given(latencies, st.floats(0.01, 0.99))
def test_a_quantile_is_within_two_percent_of_numpys(sample: list[float], q: float) -> None:
    found = quantile(histogram(np.array(sample)), q)
    # Rounding may put q n on either side of a whole number of calls.
    ends = [
        np.quantile(sample, min(max(q + d, 0), 1), method="inverted_cdf") for d in (-1e-9, 1e-9)
    ]
    assert ends[0] / 1.0201 <= found <= ends[1] * 1.0201


@settings(deadline=None)
@given(histograms, histograms, st.floats(0.05, 0.95))
def test_merging_adds_bucket_by_bucket(
    one: dict[int, int], other: dict[int, int], q: float
) -> None:
    both = merged([one, other])
    assert both == merged([other, one])
    assert sum(both.values()) == sum(one.values()) + sum(other.values())
    assert quantile(merged([one, one]), q) == quantile(one, q)


@settings(deadline=None)
@given(histograms, st.floats(0.05, 0.95))
def test_the_interval_holds_the_estimate_and_narrows_as_alpha_grows(
    counts: dict[int, int], q: float
) -> None:
    strict, lax = quantile_sequence(counts, q, 0.01), quantile_sequence(counts, q, 0.2)
    if strict is None:
        assert sum(counts.values()) == 0
        return
    outer, inner = strict.interval_ms, lax.interval_ms
    assert outer.low <= inner.low <= strict.estimate_ms <= inner.high <= outer.high


@settings(deadline=None)
@given(histograms, st.floats(0.05, 0.95))
def test_quantiles_rise_with_q(counts: dict[int, int], q: float) -> None:
    low, high = quantile_sequence(counts, q / 2, 0.05), quantile_sequence(counts, q, 0.05)
    if low is not None:
        assert low.estimate_ms <= high.estimate_ms


def test_an_edge_is_excluded_exactly_when_its_evidence_reaches_twenty() -> None:
    # By hand: 400 calls, 10 a bucket; below edge b lie 10 b of them.
    counts = dict.fromkeys(range(40), 10)
    found = quantile_sequence(counts, 0.5, 0.05)
    rejected = [
        b
        for b in range(41)
        if beta_binomial_log_e(10.0 * b, 400.0 - 10 * b, 0.5, CONCENTRATION) >= math.log(20)
    ]
    below, above = max(b for b in rejected if b < 20), min(b for b in rejected if b > 20)
    assert found.interval_ms.low == edge_ms(below)
    assert found.interval_ms.high == edge_ms(above)


def test_few_calls_leave_the_interval_open() -> None:
    found = quantile_sequence({100: 3, 150: 2}, 0.95, 0.05)
    assert found.interval_ms.low < found.estimate_ms
    assert found.interval_ms.high == math.inf
    assert quantile_sequence({100: 1}, 0.5, 0.05).interval_ms.low == 0


def test_calls_of_one_speed_have_that_quantile_at_every_q() -> None:
    counts = {bucket_of(ll_of(250.0)): 5_000}
    for q in (0.01, 0.5, 0.99):
        found = quantile_sequence(counts, q, 0.05)
        assert found.estimate_ms == pytest.approx(250, rel=0.02)
        assert found.interval_ms.width < 0.041 * 250


def test_no_calls_have_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({7: 0}, 0.5) is None
    assert quantile_sequence({}, 0.5, 0.05) is None


def test_ten_million_calls_pin_the_quantile_to_its_bucket() -> None:
    rng = np.random.default_rng(1)
    counts = {b: 1e7 * w for b, w in enumerate(rng.dirichlet(np.ones(60)))}
    found = quantile_sequence(counts, 0.9, 0.05)
    assert found.interval_ms.high / found.interval_ms.low < 1.04**3


def test_what_is_no_count_or_no_probability_is_refused() -> None:
    with pytest.raises(Invalid):
        quantile({1: -1}, 0.5)
    with pytest.raises(Invalid):
        quantile({1: 1}, 1)
    with pytest.raises(Invalid):
        quantile_sequence({1: 1}, 0.5, 0)


def test_watching_a_p95_misses_it_no_more_often_than_promised() -> None:
    runs, looks = 150, 20
    rng = np.random.default_rng(6)
    truth = math.exp(6 + 0.8 * 1.6448536269514722)
    missed = bounded = 0
    for _ in range(runs):
        counts: dict[int, float] = {}
        covered = True
        for _ in range(looks):
            counts = merged([counts, histogram(rng.lognormal(6, 0.8, 100))])
            interval = quantile_sequence(counts, 0.95, 0.05).interval_ms
            covered = covered and interval.holds(truth)
        missed += not covered
        bounded += interval.high < 1.3 * truth
    assert missed <= binom.ppf(1 - 1e-4, runs, 0.05)
    assert bounded > 0.8 * runs  # and after 2,000 calls it says something
