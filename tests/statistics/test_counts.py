"""Are the count tests exact, and do they stay quiet when nothing is wrong?"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import betabinom, binom

from sidecar.core.errors import Invalid
from sidecar.core.stats.counts import (
    RateStage,
    beta_binomial_log_e,
    mean_log_e,
    risk_ratio_log_e,
    risk_ratio_log_es,
    risk_ratio_sequence,
)

SHARES = (0.01, 0.05, 0.25, 0.5)


def stages(*events: tuple[int, int]) -> list[RateStage]:
    """Events of the primary and of the canary, by stage of the usual ramp."""
    return [RateStage(c, p, share) for (p, c), share in zip(events, SHARES, strict=True)]


# The worked example of the statistics' specification (C6).
BAD = stages((47, 1), (51, 3), (70, 26), (44, 40))
SLOW = stages((251, 2), (232, 14), (379, 131), (203, 205))
DISAGREED = stages((78, 1), (86, 3), (109, 33), (72, 49))
LABELS = {
    "relevant": stages((1730, 17), (1671, 88), (2610, 881), (1402, 1399)),
    "irrelevant": stages((2489, 23), (2357, 131), (3752, 1244), (2010, 1985)),
    "maybe": stages((686, 7), (668, 31), (1062, 355), (555, 565)),
}

one_stage = st.builds(
    RateStage, st.integers(0, 300), st.integers(0, 300), st.floats(0.005, 0.995)
)
ramps = st.lists(one_stage, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("events", "log_e", "estimate", "low", "high"),
    [
        (BAD, -3.2292, 1.0196, 0.6229, 1.6339),
        (SLOW, -6.8787, 1.0270, 0.8133, 1.2906),
        (DISAGREED, -5.2391, 0.7738, 0.5013, 1.1683),
    ],
)
def test_the_worked_examples_guardrails_are_reproduced_to_their_printed_digits(
    events: list[RateStage], log_e: float, estimate: float, low: float, high: float
) -> None:
    found = risk_ratio_sequence(events, 0.05)
    assert risk_ratio_log_e(events, 1.25) == pytest.approx(log_e, abs=5e-5)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (estimate, low, high), abs=5e-5
    )


def test_the_worked_examples_label_shift_is_reproduced_to_its_printed_digits() -> None:
    found = {label: risk_ratio_sequence(events, 0.05) for label, events in LABELS.items()}
    printed = {
        "relevant": [1.0044, 0.9139, 1.1028],
        "irrelevant": [0.9938, 0.9180, 1.0751],
        "maybe": [1.0032, 0.8668, 1.1587],
    }
    for label, ratio in found.items():
        ends = [ratio.estimate, ratio.low, ratio.high]
        assert ends == pytest.approx(printed[label], abs=6e-5)  # printed after rounding twice
    joint = mean_log_e([ratio.log_e_at_one for ratio in found.values()])
    assert joint == pytest.approx(-3.3375, abs=5e-5)


def chance(share: float, ratio: float) -> float:
    return share * ratio / (share * ratio + 1 - share)


@settings(deadline=None, max_examples=30)
@given(ramps, st.sampled_from([1.0, 1.25, 2.0]))
def test_the_guardrails_e_value_is_a_mixture_of_binomial_likelihood_ratios(
    ramp: list[RateStage], limit: float
) -> None:
    # The same number from SciPy's binomial distribution, conditional on each stage's events.
    grid = 0.08 * np.arange(1, 41)
    weights = np.exp(-0.5 * grid**2) / np.exp(-0.5 * grid**2).sum()
    logs = []
    for step in grid:
        log = 0.0
        for stage in ramp:
            n = stage.canary + stage.primary
            at, null = chance(stage.share, limit * math.exp(step)), chance(stage.share, limit)
            log += binom.logpmf(stage.canary, n, at) - binom.logpmf(stage.canary, n, null)
        logs.append(log)
    expected = logsumexp(logs, b=weights)
    assert risk_ratio_log_e(ramp, limit) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_the_guardrails_e_value_is_one_in_expectation_at_the_limit_and_below_one_inside(
    n: int, share: float
) -> None:
    e = np.exp([risk_ratio_log_e([RateStage(k, n - k, share)], 1.25) for k in range(n + 1)])
    expected = [
        float(e @ binom.pmf(np.arange(n + 1), n, chance(share, ratio)))
        for ratio in (1.25, 1.1, 0.5)
    ]
    assert expected[0] == pytest.approx(1, abs=1e-12)
    assert expected[0] > expected[1] > expected[2]


@pytest.mark.parametrize("n", range(31))
def test_the_two_sided_evidence_at_one_is_one_in_expectation(n: int) -> None:
    e = [
        math.exp(risk_ratio_sequence([RateStage(k, n - k, 0.2)], 0.05).log_e_at_one)
        for k in range(n + 1)
    ]
    assert np.dot(e, binom.pmf(np.arange(n + 1), n, 0.2)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("theta", [0.05, 0.5, 0.9])
def test_the_beta_binomial_e_value_is_one_in_expectation(theta: float) -> None:
    for n in range(31):
        k = np.arange(n + 1.0)
        e = np.exp(beta_binomial_log_e(k, n - k, theta))
        assert e @ binom.pmf(k, n, theta) == pytest.approx(1, abs=1e-12)


def test_the_beta_binomial_mixture_gives_confseqs_published_numbers() -> None:
    # confseq, test/uniform_boundaries_unittest.cpp, TestTwoSidedBetaBinomialMixture: g=0.2,
    # h=0.8, v=100; its s and v are counts k1 = v/h + s and k0 = v/g - s, its r/(gh) our k.
    g, h, v = 0.2, 0.8, 100.0
    k = (12.60056 - g * h) / (g * h)
    for s, log_e in ((10.0, -0.6941012), (31.4308, math.log(20))):
        found = beta_binomial_log_e(v / h + s, v / g - s, g, k)
        assert found == pytest.approx(log_e, abs=2e-6)


@pytest.mark.parametrize(
    ("hits", "n", "t_opt", "ends"),
    [(700, 1000, 100, (0.651629, 0.745949)), (15, 50, 50, (0.129556, 0.511896))],
)
def test_confseqs_bernoulli_intervals_end_where_our_evidence_reaches_twenty(
    hits: int, n: int, t_opt: int, ends: tuple[float, float]
) -> None:
    # confseq's tests of `bernoulli_confidence_interval(hits, n, 0.05, t_opt)`.
    k = t_opt / (2 * math.log(20) + math.log1p(2 * math.log(20))) - 1
    for end in ends:
        found = beta_binomial_log_e(hits, n - hits, end, k)
        assert found == pytest.approx(math.log(20), abs=3e-4)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 0.99), st.floats(0.5, 200))
def test_the_beta_binomial_is_scipys_over_the_binomial(
    k1: int, k0: int, theta: float, k: float
) -> None:
    n = k1 + k0
    expected = betabinom.logpmf(k1, n, k * theta, k * (1 - theta)) - binom.logpmf(k1, n, theta)
    found = beta_binomial_log_e(k1, k0, theta, k)
    assert found == pytest.approx(expected, abs=1e-6)
    assert beta_binomial_log_e(k0, k1, 1 - theta, k) == pytest.approx(found, abs=1e-8)


@settings(deadline=None)
@given(ramps)
def test_the_interval_holds_the_estimate_and_narrows_as_alpha_grows(
    ramp: list[RateStage],
) -> None:
    strict, lax = risk_ratio_sequence(ramp, 0.01), risk_ratio_sequence(ramp, 0.2)
    if strict.estimate is None:
        assert sum(stage.canary + stage.primary for stage in ramp) == 0
        return
    assert strict.low <= lax.low <= lax.estimate <= lax.high <= strict.high


@settings(deadline=None)
@given(ramps)
def test_swapping_the_arms_inverts_the_ratio(ramp: list[RateStage]) -> None:
    found = risk_ratio_sequence(ramp, 0.05)
    swapped = [RateStage(s.primary, s.canary, 1 - s.share) for s in ramp]
    other = risk_ratio_sequence(swapped, 0.05)
    assert other.log_e_at_one == pytest.approx(found.log_e_at_one, abs=1e-6)
    for ours, theirs in ((found.low, other.high), (found.high, other.low)):
        if 0 < ours < math.inf:
            assert 1 / theirs == pytest.approx(ours, rel=1e-6)
        else:
            assert theirs == (math.inf if ours == 0 else 0)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.01, 0.99), st.integers(0, 50))
def test_events_of_one_share_may_be_split_over_stages(
    canary: int, primary: int, share: float, part: int
) -> None:
    first = RateStage(min(part, canary), min(part, primary), share)
    rest = RateStage(canary - first.canary, primary - first.primary, share)
    whole = [RateStage(canary, primary, share)]
    split = risk_ratio_log_e([first, rest], 1.25)
    assert split == pytest.approx(risk_ratio_log_e(whole, 1.25), abs=1e-8)
    if canary > 0 and primary > 0:
        estimate = risk_ratio_sequence([first, rest], 0.05).estimate
        assert estimate == pytest.approx(canary / primary * (1 - share) / share, rel=1e-6)


def test_more_canary_events_are_more_evidence() -> None:
    log_es = [risk_ratio_log_e([RateStage(k, 20, 0.1)], 1.25) for k in range(2, 30)]
    assert all(a < b for a, b in itertools.pairwise(log_es))


def test_a_broken_canary_of_one_percent_breaches_after_three_failures() -> None:
    # D3 of the specification: three guardrails at 0.05 in total; nothing else fails meanwhile.
    threshold = math.log(3 / 0.05)
    assert risk_ratio_log_e([RateStage(2, 0, 0.01)], 1.25) < threshold
    assert risk_ratio_log_e([RateStage(3, 0, 0.01)], 1.25) > threshold


def test_where_an_arm_has_no_events_that_side_is_unbounded() -> None:
    nothing = risk_ratio_sequence([RateStage(0, 0, 0.5)], 0.05)
    assert (nothing.estimate, nothing.low, nothing.high) == (None, 0, math.inf)
    assert nothing.log_e_at_one == 0
    clean = risk_ratio_sequence([RateStage(0, 50, 0.5), RateStage(0, 9, 0.1)], 0.05)
    assert (clean.estimate, clean.low) == (0, 0)
    assert 0 < clean.high < 1
    broken = risk_ratio_sequence([RateStage(50, 0, 0.5), RateStage(9, 0, 0.1)], 0.05)
    assert (broken.estimate, broken.high) == (math.inf, math.inf)
    assert 1 < broken.low < math.inf


def test_a_stage_that_gave_one_arm_everything_adds_nothing() -> None:
    lonely = [RateStage(0, 500, 0.0), RateStage(80, 0, 1.0)]
    assert risk_ratio_log_e([*BAD, *lonely], 1.25) == risk_ratio_log_e(BAD, 1.25)
    assert risk_ratio_sequence([*BAD, *lonely], 0.05) == risk_ratio_sequence(BAD, 0.05)
    assert risk_ratio_log_e(lonely, 1.25) == 0
    assert risk_ratio_log_e([], 1.25) == 0


def test_ten_million_events_keep_their_precision() -> None:
    found = risk_ratio_sequence([RateStage(1e7, 1e7, 0.5), RateStage(5e6, 1.5e7, 0.25)], 0.05)
    assert found.estimate == pytest.approx(1, abs=1e-9)
    assert 0.997 < found.low < 1 < found.high < 1.003
    assert beta_binomial_log_e(1e7, 1e7, 0.5) < 0


def test_the_joint_e_value_is_the_mean_whatever_the_scale() -> None:
    assert mean_log_e([math.log(2), math.log(4)]) == pytest.approx(math.log(3))
    assert mean_log_e([5_000.0, 0.0]) == pytest.approx(5_000 - math.log(2))
    assert mean_log_e([]) is None


def test_what_cannot_be_counts_shares_or_limits_is_refused() -> None:
    for bad in ((-1, 0, 0.5), (1, math.nan, 0.5), (1, 1, 1.1), (1, 1, math.nan)):
        with pytest.raises(Invalid):
            RateStage(*bad)
    for limit in (0, -1, math.nan):
        with pytest.raises(Invalid):
            risk_ratio_log_e(BAD, limit)
        with pytest.raises(Invalid):
            risk_ratio_log_e([], limit)
    with pytest.raises(Invalid):
        risk_ratio_sequence(BAD, 0)
    for theta in (0, 1, math.nan):
        with pytest.raises(Invalid):
            beta_binomial_log_e(1, 1, theta)


def drifting_events(ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Events of 2,000 experiments at 48 looks over the ramp, rates drifting from 1 to 5 %."""
    rng = np.random.default_rng(8)
    runs, looks = 2_000, 48
    canary, primary = (np.zeros((runs, looks, 4)) for _ in range(2))
    for look in range(looks):
        stage, rate = look // 12, 0.01 + 0.04 * look / looks
        units = rng.binomial(1_000, SHARES[stage], runs)
        canary[:, look, stage] = rng.binomial(units, rate * ratio)
        primary[:, look, stage] = rng.binomial(1_000 - units, rate)
    return canary.cumsum(axis=1), primary.cumsum(axis=1)


def test_a_canary_just_at_the_limit_is_rolled_back_no_more_often_than_promised() -> None:
    log_es = risk_ratio_log_es(*drifting_events(1.25), np.array(SHARES), 1.25)
    breached = (log_es > math.log(20)).any(axis=1).sum()
    assert 0 < breached <= binom.ppf(1 - 1e-4, 2_000, 0.05)
    found = risk_ratio_log_es(*drifting_events(3.0), np.array(SHARES), 1.25)
    assert (found > math.log(20)).any(axis=1).mean() > 0.95
