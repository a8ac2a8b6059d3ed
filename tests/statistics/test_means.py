"""Are means of clustered, skewed and staged calls compared as they should be?"""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.regression.linear_model import OLS

from sidecar.core.errors import Invalid
from sidecar.core.stats.means import (
    Estimate,
    MeanDifference,
    MeanStratum,
    UnitTotals,
    geometric_mean_ratio,
    mantel_haenszel_weight,
    mean_difference,
    ratio_variance,
    relative,
    stratified,
)
from sidecar.core.stats.sequential import confidence_sequence, half_width

NOTHING = UnitTotals(0, 0, 0, 0, 0, 0)


def totals(x: np.ndarray, n: np.ndarray | None = None) -> UnitTotals:
    """Totals of units with `x` in all over `n` calls each (one, if left out)."""
    n = np.ones_like(x) if n is None else n
    return UnitTotals(len(x), n.sum(), x.sum(), (x * x).sum(), (x * n).sum(), (n * n).sum())


def of_moments(n: float, mean: float, sd: float) -> UnitTotals:
    """Totals of `n` units of one call each."""
    return UnitTotals(n, n, n * mean, (n - 1) * sd**2 + n * mean**2, n * mean, n)


values = st.lists(st.floats(-100, 100), min_size=2, max_size=30).map(np.array)


@st.composite
def clustered(draw: st.DrawFn) -> UnitTotals:
    x = draw(values)
    calls = draw(st.lists(st.integers(1, 9), min_size=len(x), max_size=len(x)))
    return totals(x, np.array(calls, float))


# gbstats, tests/frequentist/test_tests.py: means 0.41 and 0.7, deviations 3.9 and 6.2.
GROWTHBOOK = MeanStratum(of_moments(3407, 0.41, 3.9), of_moments(3461, 0.7, 6.2))


def welch(stratum: MeanStratum) -> MeanDifference:
    """What `mean_difference` gives where Welch's variance is the larger."""
    arms = [
        Estimate(arm.mean, ratio_variance(arm)) for arm in (stratum.primary, stratum.canary)
    ]
    return MeanDifference(*arms, stratum.primary.units, stratum.canary.units)


def test_the_difference_and_its_welch_error_are_gbstats() -> None:
    found = welch(GROWTHBOOK)
    assert found.estimate == pytest.approx(0.29)
    assert found.se == pytest.approx(0.12478, abs=5e-6)


def test_the_relative_difference_is_gbstats() -> None:
    found = relative(welch(GROWTHBOOK))
    assert (found.value, found.se) == pytest.approx((0.70732, 0.37879), abs=5e-6)
    # Their interval is (-0.03526, 1.44989); 1.96033 is Student's t at 5,840 degrees.
    half = 1.96033 * found.se
    assert (found.value - half, found.value + half) == pytest.approx(
        (-0.03526, 1.44989), abs=2e-5
    )


@pytest.mark.parametrize(
    ("primary", "canary", "n_star", "estimate", "low", "high"),
    [  # gbstats, tests/frequentist/test_tests.py, sequential and relative
        (
            of_moments(3000, 1396 / 3000, math.sqrt(1396 / 3000 * 1604 / 3000)),
            of_moments(3461, 2422 / 3461, math.sqrt(2422 / 3461 * 1039 / 3461)),
            5000,
            0.50386,
            0.40098,
            0.60675,
        ),
        (
            UnitTotals(3000, 3000, 1396.87, 52377.9767, 1396.87, 3000),
            UnitTotals(3461, 3461, 2422.7, 134698.29, 2422.7, 3461),
            1000,
            0.50336,
            -0.55844,
            1.56516,
        ),
    ],
)
def test_the_sequential_relative_interval_is_gbstats(
    primary: UnitTotals,
    canary: UnitTotals,
    n_star: float,
    estimate: float,
    low: float,
    high: float,
) -> None:
    found = relative(welch(MeanStratum(primary, canary)))
    rho2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / n_star
    tau = math.sqrt(rho2 * (primary.n + canary.n)) * found.se
    interval = confidence_sequence(found.value, found.se, tau, 0.05)
    assert found.value == pytest.approx(estimate, abs=5e-6)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 40))
def test_the_variance_is_statsmodels_cr1(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    calls = rng.integers(1, 8, units)
    group = np.repeat(np.arange(units), calls)
    y = rng.normal(3, 1, len(group)) + rng.normal(0, 2, units)[group]
    fit = OLS(y, np.ones_like(y)).fit(cov_type="cluster", cov_kwds={"groups": group})
    found = totals(np.bincount(group, y), calls.astype(float))
    assert found.mean == pytest.approx(fit.params[0])
    assert math.sqrt(ratio_variance(found)) == pytest.approx(fit.bse[0], rel=1e-9)


@given(values)
def test_with_one_call_a_unit_the_variance_is_the_textbooks(x: np.ndarray) -> None:
    expected = x.var(ddof=1) / len(x)
    assert ratio_variance(totals(x)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(clustered(), clustered())
def test_merging_totals_is_adding_them(one: UnitTotals, other: UnitTotals) -> None:
    assert one + other == other + one
    assert one + NOTHING == one
    assert astuple(one + other)[0] == one.units + other.units
    low, high = sorted((one.mean, other.mean))
    assert low - 1e-9 <= (one + other).mean <= high + 1e-9


@settings(deadline=None)
@given(clustered(), clustered(), st.floats(0.01, 100))
def test_the_difference_scales_with_its_unit_and_flips_with_the_arms(
    one: UnitTotals, other: UnitTotals, scale: float
) -> None:
    found = mean_difference([MeanStratum(one, other)])
    flipped = mean_difference([MeanStratum(other, one)])
    larger = mean_difference([MeanStratum(scaled(one, scale), scaled(other, scale))])
    assert flipped.estimate == pytest.approx(-found.estimate)
    assert flipped.se == pytest.approx(found.se)
    assert larger.estimate == pytest.approx(scale * found.estimate, rel=1e-6, abs=1e-6)
    # A variance of 0 is what rounding leaves of the squares that cancel.
    assert larger.se == pytest.approx(scale * found.se, rel=1e-6, abs=1e-4 * scale)
    assert found.se >= welch(MeanStratum(one, other)).se * (1 - 1e-9)


def scaled(arm: UnitTotals, by: float) -> UnitTotals:
    return UnitTotals(
        arm.units, arm.n, arm.sum_x * by, arm.sum_x2 * by**2, arm.sum_xn * by, arm.sum_n2
    )


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=1, max_size=5))
def test_an_average_lies_among_its_parts(parts: list[tuple[float, float]]) -> None:
    estimates = [Estimate(*part) for part in parts]
    found = stratified(estimates, [1.0] * len(parts))
    assert min(e.value for e in estimates) - 1e-9 <= found.value
    assert found.value <= max(e.value for e in estimates) + 1e-9
    assert found.variance <= max(e.variance for e in estimates) + 1e-9
    assert stratified([*estimates, Estimate(1e6, 1e6)], [1.0] * len(parts) + [0]) == found


def test_two_stages_average_by_their_harmonic_sizes() -> None:
    # By hand: weights 100*300/400 = 75 and 50*50/100 = 25; differences 1 and 5.
    first = MeanStratum(of_moments(100, 10, 2), of_moments(300, 11, 2))
    second = MeanStratum(of_moments(50, 20, 2), of_moments(50, 25, 2))
    found = mean_difference([first, second])
    assert mantel_haenszel_weight(100, 300) == 75
    assert found.estimate == pytest.approx(0.75 * 1 + 0.25 * 5)
    variance = 0.75**2 * 4 * (1 / 100 + 1 / 300) + 0.25**2 * 4 * (2 / 50)
    assert found.se == pytest.approx(math.sqrt(variance))
    assert (found.units_primary, found.units_canary) == (150, 350)


def test_stages_that_cannot_be_compared_add_nothing() -> None:
    good = MeanStratum(of_moments(200, 1, 1), of_moments(200, 1.1, 1))
    lonely = MeanStratum(of_moments(900, 50, 9), NOTHING)
    pair = MeanStratum(of_moments(1, 3, 0), of_moments(1, 4, 0))
    assert mean_difference([good, lonely, pair]) == mean_difference([good])
    assert mean_difference([lonely, pair]) is None
    assert mean_difference([]) is None
    assert stratified([], []) is None


def test_a_single_canary_unit_borrows_the_primarys_spread() -> None:
    found = mean_difference([MeanStratum(of_moments(50, 2, 3), of_moments(1, 9, 0))])
    assert found.se == pytest.approx(3 * math.sqrt(1 / 50 + 1))


def test_a_small_calm_canary_is_given_the_pooled_spread() -> None:
    found = mean_difference([MeanStratum(of_moments(1000, 2, 3), of_moments(50, 2, 1))])
    pooled = (999 * 9 + 49 * 1) / 1048
    assert found.se == pytest.approx(math.sqrt(pooled * (1 / 1000 + 1 / 50)))


def test_one_unit_has_no_variance_and_no_calls_have_no_mean() -> None:
    assert ratio_variance(of_moments(1, 5, 0)) is None
    assert ratio_variance(NOTHING) is None
    assert NOTHING.mean is None


def test_the_gate_asks_for_a_hundred_units_an_arm_and_some_spread() -> None:
    def gate(n_primary: int, n_canary: int, sd: float) -> bool:
        arms = of_moments(n_primary, 1, sd), of_moments(n_canary, 2, sd)
        return mean_difference([MeanStratum(*arms)]).gate_open

    assert gate(100, 100, 1)
    assert not gate(100, 99, 1)
    assert not gate(100_000, 99, 1)
    assert not gate(500, 500, 0)


def test_a_baseline_of_nothing_has_no_relative_difference() -> None:
    free = MeanStratum(of_moments(200, 0, 0), of_moments(200, 1, 1))
    assert relative(mean_difference([free])) is None


def test_log_latencies_read_as_a_ratio_of_geometric_means() -> None:
    rng = np.random.default_rng(4)
    slow, fast = rng.lognormal(7.1, 1, 4_000), rng.lognormal(7.0, 1, 4_000)
    centre = 7.0
    found = mean_difference(
        [MeanStratum(totals(np.log(fast) - centre), totals(np.log(slow) - centre))]
    )
    interval = confidence_sequence(found.estimate, found.se, 0.1, 0.05)
    ratio = geometric_mean_ratio(found, interval)
    plain = np.exp(np.log(slow).mean()) / np.exp(np.log(fast).mean())
    assert ratio.estimate == pytest.approx(plain)
    assert ratio.low < math.exp(0.1) < ratio.high


def test_ten_million_units_keep_their_precision() -> None:
    found = mean_difference(
        [MeanStratum(of_moments(1e7, 0.002, 0.001), of_moments(1e7, 0.00201, 0.001))]
    )
    assert found.estimate == pytest.approx(1e-5, rel=1e-6)
    assert found.se == pytest.approx(0.001 * math.sqrt(2e-7), rel=1e-6)


def test_sums_that_cannot_be_are_refused() -> None:
    for bad in ((-1, 0, 0, 0, 0, 0), (1, 1, math.nan, 1, 1, 1), (1, 1, 1, -1, 1, 1)):
        with pytest.raises(Invalid):
            UnitTotals(*bad)
    with pytest.raises(Invalid):
        stratified([Estimate(1, 1)], [1, 2])
    with pytest.raises(Invalid):
        stratified([Estimate(1, 1)], [-1])
    with pytest.raises(Invalid):
        stratified([Estimate(math.nan, 1)], [1])


def test_skewed_costs_of_a_small_canary_are_called_different_no_more_often_than_promised() -> (
    None
):
    runs, looks = 250, 16
    rng = np.random.default_rng(17)
    wrong = 0
    for _ in range(runs):
        primary = canary = NOTHING
        for _ in range(looks):
            primary += totals(rng.lognormal(0, 1, 950))
            canary += totals(rng.lognormal(0, 1, 50))
            found = mean_difference([MeanStratum(primary, canary)])
            if found.gate_open and abs(found.estimate) > half_width(found.se, 0.1, 0.05):
                wrong += 1
                break
    assert wrong <= binom.ppf(1 - 1e-4, runs, 0.05)


def test_calls_of_one_unit_are_not_taken_for_independent() -> None:
    runs, units, calls = 400, 200, 10
    rng = np.random.default_rng(9)
    clustered_wrong = naive_wrong = 0
    for _ in range(runs):
        arms = rng.normal(0, 1, (2, units, 1)) + rng.normal(0, 1, (2, units, calls))
        n = np.full(units, float(calls))
        found = mean_difference([MeanStratum(*(totals(arm.sum(axis=1), n) for arm in arms))])
        naive = mean_difference([MeanStratum(*(totals(arm.ravel()) for arm in arms))])
        clustered_wrong += abs(found.estimate) > 1.96 * found.se
        naive_wrong += abs(naive.estimate) > 1.96 * naive.se
    bound = binom.ppf(1 - 1e-4, runs, 0.05)
    assert clustered_wrong <= bound
    assert naive_wrong > 2 * bound
