"""Does the confidence sequence agree with other implementations, and keep its promise?"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from sidecar.core.errors import Invalid
from sidecar.core.stats.sequential import (
    Interval,
    confidence_sequence,
    fixed_interval,
    half_width,
    latched,
    log_e_against,
    mixture_log_e,
    mixture_log_e_one_sided,
    p_anytime,
    probability_above,
)

ses = st.floats(1e-6, 1e3)
taus = st.floats(1e-5, 1e3)
alphas = st.floats(1e-6, 0.9)
estimates = st.floats(-1e3, 1e3)


def confseq_rho(v_opt: float, alpha: float) -> float:
    """The tuning of `TwoSidedNormalMixture::best_rho` in confseq's uniform_boundaries.h."""
    return v_opt / (2 * math.log(1 / alpha) + math.log1p(2 * math.log(1 / alpha)))


def test_the_two_sided_mixture_gives_confseqs_published_numbers() -> None:
    # confseq, test/uniform_boundaries_unittest.cpp, TestTwoSidedNormalMixture: s=10, v=100.
    rho = confseq_rho(100, 0.05)
    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert mixture_log_e(10 / 10, 100 / rho) == pytest.approx(-0.6510052, abs=1e-7)
    # Its sum has variance v, so se = 10, and its prior r = v / rho.
    assert half_width(10, 10 * math.sqrt(100 / rho), 0.05) == pytest.approx(30.35209, abs=1e-5)


def test_the_one_sided_mixture_gives_confseqs_published_numbers() -> None:
    # The same file, TestOneSidedNormalMixture; it is tuned at twice alpha.
    r = 100 / confseq_rho(100, 0.1)
    assert mixture_log_e_one_sided(1.0, r) == pytest.approx(-0.06502391, abs=1e-7)
    assert mixture_log_e_one_sided(27.66071 / 10, r) == pytest.approx(math.log(20), abs=1e-5)


def test_the_half_width_is_tensorzeros_margin() -> None:
    # asymptotic_confidence_sequences.rs, test_margin_calculation_correctness.
    n, variance, rho, alpha = 100, 0.25, 0.296, 0.05
    inside = n * variance * rho**2 + 1
    margin = math.sqrt(inside / (n * n * rho**2) * math.log(inside / alpha**2))
    ours = half_width(math.sqrt(variance / n), variance * rho, alpha)
    assert ours == pytest.approx(margin, rel=1e-12)


def growthbook_half_width(se: float, n: float, alpha: float, n_star: float) -> float:
    """`SequentialTwoSidedTTest.half_width` of gbstats, Waudby-Smith et al. 2024, eq. 9."""
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / n_star
    t = n * rho2
    return (
        se
        * math.sqrt(n)
        * math.sqrt(2 * (t + 1) * math.log(math.sqrt(t + 1) / alpha) / (n * n * rho2))
    )


@pytest.mark.parametrize("n", [100, 5_000, 10_000_000])
def test_the_half_width_is_growthbooks_when_tau_follows_its_rho(n: int) -> None:
    rho2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 5000
    tau = math.sqrt(rho2) * 0.3 * math.sqrt(n)
    expected = growthbook_half_width(0.3, n, 0.05, 5000)
    assert half_width(0.3, tau, 0.05) == pytest.approx(expected, rel=1e-12)


def test_the_posterior_with_a_flat_prior_is_gbstats_chance_to_win() -> None:
    # gbstats tests/bayesian/test_tests.py: 49/100 against 51/100, relative: 0.60918.
    a, b, n = 0.49, 0.51, 100
    se = math.sqrt(b * (1 - b) / n / a**2 + a * (1 - a) / n * b**2 / a**4)
    chance = probability_above(0, estimate=b / a - 1, se=se, tau=1e6)
    assert chance == pytest.approx(0.60918, abs=1e-5)


def test_a_fixed_interval_is_the_textbooks() -> None:
    interval = fixed_interval(1.0, 0.5, 0.05)
    assert (interval.low, interval.high) == pytest.approx((0.0200180, 1.9799820), abs=1e-7)


@settings(deadline=None)
@given(estimates, ses, taus, alphas)
def test_a_value_is_inside_exactly_while_its_e_value_is_below_the_threshold(
    null: float, se: float, tau: float, alpha: float
) -> None:
    half = half_width(se, tau, alpha)
    for distance, outside in ((half * 0.999, False), (half * 1.001, True)):
        log_e = log_e_against(null, estimate=null + distance, se=se, tau=tau)
        if half > 1e-6 * abs(null):  # else adding it to the null rounds it away
            assert (log_e > math.log(1 / alpha)) is outside


@settings(deadline=None)
@given(estimates, ses, taus, alphas, alphas)
def test_a_stricter_interval_holds_a_laxer_one_and_the_fixed_one(
    estimate: float, se: float, tau: float, one: float, other: float
) -> None:
    strict = confidence_sequence(estimate, se, tau, min(one, other))
    lax = confidence_sequence(estimate, se, tau, max(one, other))
    single = fixed_interval(estimate, se, max(one, other))
    assert strict.low <= lax.low <= single.low <= single.high <= lax.high <= strict.high


@settings(deadline=None)
@given(st.floats(-30, 30), st.floats(0, 1e6))
def test_evidence_is_symmetric_two_sided_and_grows_with_z_one_sided(z: float, r: float) -> None:
    assert mixture_log_e(z, r) == mixture_log_e(-z, r)
    assert mixture_log_e_one_sided(z, r) <= mixture_log_e_one_sided(z + 0.1, r)
    assert mixture_log_e_one_sided(z, r) <= mixture_log_e(z, r) + math.log(2)


@pytest.mark.parametrize("r", [0.01, 1.0, 50.0])
def test_the_e_value_of_a_normal_statistic_is_one_in_expectation(r: float) -> None:
    z = np.linspace(-14, 14, 200_001) * math.sqrt(1 + r)
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    rs = np.full_like(z, r)
    for log_e in (mixture_log_e(z, rs), mixture_log_e_one_sided(z, rs)):
        assert np.trapezoid(np.exp(log_density + log_e), z) == pytest.approx(1, abs=1e-9)


def test_arrays_give_what_scalars_give() -> None:
    z, r = np.array([-1.0, 0.0, 3.0]), np.array([0.5, 2.0, 9.0])
    for formula in (mixture_log_e, mixture_log_e_one_sided):
        apart = [formula(float(a), float(b)) for a, b in zip(z, r, strict=True)]
        assert all(type(value) is float for value in apart)
        assert formula(z, r) == pytest.approx(apart)
    assert half_width(r, 1.0, 0.05) == pytest.approx([half_width(x, 1.0, 0.05) for x in r])


def test_evidence_latches_and_its_p_value_never_exceeds_one() -> None:
    highest = None
    for log_e in (-2.0, 3.0, 1.0):
        highest = latched(highest, log_e)
    assert highest == 3.0
    assert p_anytime(highest) == pytest.approx(math.exp(-3))
    assert p_anytime(-8.4) == 1.0
    assert p_anytime(math.inf) == 0.0


def test_intervals_meet_in_what_they_share() -> None:
    assert Interval(0, 2).meet(Interval(1, 3)) == Interval(1, 2)
    assert Interval(0, 1).meet(Interval(2, 3)) is None
    assert Interval(0, 2).holds(2)
    assert Interval(-1, 2).width == 3


@pytest.mark.parametrize(
    ("se", "tau", "alpha"),
    [
        (0, 1, 0.05),
        (-1, 1, 0.05),
        (math.nan, 1, 0.05),
        (1, 0, 0.05),
        (1, math.inf, 0.05),
        (1, 1, 0),
        (1, 1, 1),
        (1, 1, math.nan),
    ],
)
def test_what_cannot_be_a_standard_error_or_an_alpha_is_refused(
    se: float, tau: float, alpha: float
) -> None:
    with pytest.raises(Invalid):
        confidence_sequence(0.1, se, tau, alpha)


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(Invalid, match="nan"):
        mixture_log_e(math.nan, 1.0)
    with pytest.raises(Invalid, match="array"):
        mixture_log_e(np.array([1.0, math.inf]), np.array([1.0, 1.0]))
    with pytest.raises(Invalid):
        p_anytime(math.nan)
    with pytest.raises(Invalid):
        Interval(math.nan, 1)


def test_looking_two_hundred_times_errs_no_more_often_than_promised() -> None:
    runs, looks, alpha = 4_000, 200, 0.05
    rng = np.random.default_rng(11)
    n = np.arange(1, looks + 1) * 25.0
    means = np.cumsum(rng.normal(0, 5, (runs, looks)), axis=1) / n  # of unit-variance calls
    ses = 1 / np.sqrt(n)
    missed = (np.abs(means) > half_width(ses, 0.1, alpha)).any(axis=1).sum()
    naive = (np.abs(means) > 1.96 * ses).any(axis=1).sum()
    bound = binom.ppf(1 - 1e-4, runs, alpha)
    assert 0 < missed <= bound
    assert naive > 5 * bound  # the same paths break the interval that is not sequential
