"""Does a broken split raise the alarm, and a sound one not?"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, dirichlet_multinomial, multinomial

from sidecar.core.errors import Invalid
from sidecar.core.stats.counts import beta_binomial_log_e
from sidecar.core.stats.srm import (
    SRM_LOG_E,
    SampleRatio,
    SplitStage,
    dirichlet_multinomial_log_e,
    read_sample_ratio,
    sample_ratio_log_e,
)

# The worked example of the statistics' specification (C6).
EXAMPLE = [
    SplitStage(units, (1 - share, share))
    for units, share in (
        ((4952, 48), 0.01),
        ((4747, 253), 0.05),
        ((7494, 2506), 0.25),
        ((4011, 3989), 0.5),
    )
]

designs = st.lists(st.integers(1, 50), min_size=2, max_size=4).map(
    lambda parts: [part / sum(parts) for part in parts]
)


def test_the_worked_example_is_reproduced_to_its_printed_digits() -> None:
    assert sample_ratio_log_e(EXAMPLE) == pytest.approx(-8.4269, abs=5e-5)
    assert pytest.approx(6.9078, abs=5e-5) == SRM_LOG_E


def test_the_marginal_likelihoods_are_those_published_with_ssrm() -> None:
    # optimizely/ssrm, ssrm_test/test_ssrm_test.py: arms a, b, a from a Dirichlet(1, 1, 1).
    # It is our mixture at k = 3 and an even design; the design's likelihood is n ln(1/3).
    published = (-1.0986122887, -2.4849066498, -3.4011973817)
    for n, (units, log_marginal) in enumerate(
        zip(((1, 0, 0), (1, 1, 0), (2, 1, 0)), published, strict=True), start=1
    ):
        log_e = dirichlet_multinomial_log_e(units, (1 / 3,) * 3, k=3)
        assert log_e + n * math.log(1 / 3) == pytest.approx(log_marginal, abs=1e-10)


@settings(deadline=None)
@given(designs, st.data(), st.floats(1, 500))
def test_the_e_value_is_scipys_mixture_over_the_multinomial(
    design: list[float], data: st.DataObject, k: float
) -> None:
    units = [data.draw(st.integers(0, 2_000)) for _ in design]
    prior = k * np.array(design)
    mixture = dirichlet_multinomial.logpmf(units, prior, sum(units))
    expected = mixture - multinomial.logpmf(units, sum(units), design)
    found = dirichlet_multinomial_log_e(units, design, k)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_the_e_value_of_three_arms_is_one_in_expectation(n: int) -> None:
    design = (0.9, 0.07, 0.03)
    splits = [s for s in itertools.product(range(n + 1), repeat=3) if sum(s) == n]
    e = [math.exp(dirichlet_multinomial_log_e(split, design)) for split in splits]
    assert np.dot(e, multinomial.pmf(splits, n, design)) == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 5_000), st.integers(0, 5_000), st.floats(0.01, 0.99))
def test_two_arms_are_the_beta_binomial(canary: int, primary: int, share: float) -> None:
    found = dirichlet_multinomial_log_e([primary, canary], [1 - share, share])
    expected = beta_binomial_log_e(float(canary), float(primary), share, 100)
    assert found == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(designs, st.data())
def test_the_order_of_arms_does_not_matter(design: list[float], data: st.DataObject) -> None:
    units = [data.draw(st.integers(0, 2_000)) for _ in design]
    order = data.draw(st.permutations(range(len(design))))
    found = dirichlet_multinomial_log_e(units, design)
    mixed = dirichlet_multinomial_log_e([units[i] for i in order], [design[i] for i in order])
    assert mixed == pytest.approx(found, abs=1e-9)


def test_stages_multiply_and_an_empty_one_adds_nothing() -> None:
    apart = [sample_ratio_log_e([stage]) for stage in EXAMPLE]
    assert sample_ratio_log_e(EXAMPLE) == pytest.approx(sum(apart))
    empty = SplitStage((0, 0), (0.5, 0.5))
    assert sample_ratio_log_e([*EXAMPLE, empty]) == sample_ratio_log_e(EXAMPLE)
    assert sample_ratio_log_e([]) == 0


def test_a_unit_in_an_arm_that_was_to_get_none_is_certain_proof() -> None:
    # gbstats' chi-squared check reads 1.5e-3 off (5180, 4820, 0) at weights 1 : 1 : 0, and
    # 3.2e-4 off the two arms; the arm without a share must change nothing while empty.
    two = dirichlet_multinomial_log_e([5180, 4820], [0.5, 0.5])
    assert dirichlet_multinomial_log_e([5180, 4820, 0], [0.5, 0.5, 0]) == two
    assert dirichlet_multinomial_log_e([5180, 4820, 1], [0.5, 0.5, 0]) == math.inf
    stray = SplitStage((500, 1), (1, 0))
    assert sample_ratio_log_e([*EXAMPLE, stray]) == math.inf
    assert read_sample_ratio(math.inf) is SampleRatio.MISMATCH


def test_one_arm_that_gets_everything_is_no_evidence() -> None:
    assert dirichlet_multinomial_log_e([700, 0], [1, 0]) == pytest.approx(0, abs=1e-9)
    assert dirichlet_multinomial_log_e([700], [1]) == pytest.approx(0, abs=1e-9)


def test_ten_million_units_keep_their_precision() -> None:
    assert -10 < dirichlet_multinomial_log_e([5_000_000, 5_000_000], [0.5, 0.5]) < 0
    assert dirichlet_multinomial_log_e([5_020_000, 4_980_000], [0.5, 0.5]) > SRM_LOG_E


def test_the_alarm_needs_a_thousand_to_one_and_a_warning_twenty() -> None:
    assert read_sample_ratio(-8.4) is SampleRatio.OK
    assert read_sample_ratio(math.log(19.9)) is SampleRatio.OK
    assert read_sample_ratio(math.log(20.1)) is SampleRatio.WARN
    assert read_sample_ratio(math.log(999)) is SampleRatio.WARN
    assert read_sample_ratio(math.log(1001)) is SampleRatio.MISMATCH


@pytest.mark.parametrize(
    ("units", "design"),
    [
        ((1, 2), (0.5, 0.4)),
        ((1, 2), (0.5, 0.25, 0.25)),
        ((1, -2), (0.5, 0.5)),
        ((1, math.nan), (0.5, 0.5)),
        ((1, 2), (1.5, -0.5)),
        ((), ()),
    ],
)
def test_what_cannot_be_a_split_is_refused(
    units: tuple[float, ...], design: tuple[float, ...]
) -> None:
    with pytest.raises(Invalid):
        sample_ratio_log_e([SplitStage(units, design)])


def test_many_experiments_at_once_give_what_one_at_a_time_gives() -> None:
    batch = np.array([[[60, 40, 0], [61, 40, 0]], [[0, 0, 0], [9, 9, 2]]], float)
    found = dirichlet_multinomial_log_e(batch, [0.5, 0.5, 0])
    assert found.shape == (2, 2)
    assert found[0, 1] == dirichlet_multinomial_log_e([61, 40, 0], [0.5, 0.5, 0])
    assert found[1].tolist() == pytest.approx([0, math.inf])


def test_five_hundred_looks_at_a_sound_split_alarm_no_more_often_than_promised() -> None:
    runs, looks, alpha = 1_000, 500, 0.05
    rng = np.random.default_rng(21)
    canary = np.cumsum(rng.binomial(20, 0.3, (runs, looks)), axis=1, dtype=float)
    total = 20.0 * np.arange(1, looks + 1)
    log_e = dirichlet_multinomial_log_e(np.stack([total - canary, canary], -1), [0.7, 0.3])
    alarms = (log_e > math.log(1 / alpha)).any(axis=1).sum()
    bound = binom.ppf(1 - 1e-4, runs, alpha)
    assert 0 < alarms <= bound
    # The chi-squared test on the same looks raises several times as many.
    squares = (canary - 0.3 * total) ** 2 / (total * 0.3 * 0.7)
    assert (squares > chi2.isf(alpha, 1)).any(axis=1).sum() > 4 * bound


def test_a_split_that_loses_a_tenth_of_the_canary_is_found() -> None:
    rng = np.random.default_rng(2)
    canary = np.cumsum(rng.binomial(500, 0.45, (200, 60)), axis=1, dtype=float)
    total = 500.0 * np.arange(1, 61)
    log_e = dirichlet_multinomial_log_e(np.stack([total - canary, canary], -1), [0.5, 0.5])
    assert (log_e.max(axis=1) >= SRM_LOG_E).mean() > 0.95
