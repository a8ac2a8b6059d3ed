"""Families of tests against statsmodels, hand examples and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from sidecar.core.errors import Invalid
from sidecar.core.stats.multiplicity import e_bh, holm_adjusted, union_log_threshold

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)
log_e_values = st.lists(st.floats(-20, 20), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "ps",
    [
        [0.01, 0.04, 0.03, 0.005],
        [0.5, 0.5, 0.001, 0.02, 1.0, 0.0],
        [0.9],
        [0.013, 0.013, 0.2, 0.049, 0.6, 0.00002, 0.3],
    ],
)
def test_holms_adjusted_values_are_those_of_statsmodels(ps: list[float]) -> None:
    assert holm_adjusted(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())


@given(p_values, st.floats(0.01, 0.5))
def test_rejecting_by_adjusted_values_is_stepping_down(ps: list[float], alpha: float) -> None:
    # Holm (1979): while the smallest p left is within alpha over the number left, reject it.
    rejected, left = set(), sorted(range(len(ps)), key=ps.__getitem__)
    while left and ps[left[0]] * len(left) <= alpha:
        rejected.add(left.pop(0))
    assert {i for i, adjusted in enumerate(holm_adjusted(ps)) if adjusted <= alpha} == rejected


def test_holm_of_a_hand_example() -> None:
    # 0.01 * 3, then 0.02 * 2, then 0.04 * 1 raised to what came before: 0.04.
    assert holm_adjusted([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


@given(p_values)
def test_an_adjusted_value_is_between_its_own_and_bonferronis(ps: list[float]) -> None:
    for p, adjusted in zip(ps, holm_adjusted(ps), strict=True):
        assert p <= adjusted <= min(1.0, len(ps) * p) + 1e-12


@pytest.mark.parametrize(
    ("e_values", "found"),
    [
        # m = 4, alpha = 0.1: thresholds 40, 20, 13.3, 10 for the largest, second, ...
        pytest.param([50, 25, 1, 0.5], [True, True, False, False], id="two stand"),
        pytest.param([19, 19, 1, 1], [False] * 4, id="just below at each rank"),
        pytest.param([10, 11, 12, 13], [True] * 4, id="all stand together"),
        pytest.param([1, 40, 0.1, 19], [False, True, False, False], id="the order is kept"),
    ],
)
def test_e_bh_of_hand_examples(e_values: list[float], found: list[bool]) -> None:
    assert e_bh([math.log(e) for e in e_values], 0.1) == found


@given(log_e_values, st.integers(0, 11), st.floats(0, 10))
def test_more_evidence_never_loses_a_discovery(
    values: list[float], index: int, more: float
) -> None:
    index %= len(values)
    before = e_bh(values, 0.05)
    after = e_bh([v + more if i == index else v for i, v in enumerate(values)], 0.05)
    assert all(new or not old for old, new in zip(before, after, strict=True))


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_e_bh_is_benjamini_hochberg_of_the_inverted_values(
    ps: list[float], alpha: float
) -> None:
    # Wang & Ramdas (2022), section 4: e-BH on 1/p is Benjamini and Hochberg on p.
    theirs = multipletests(ps, alpha=alpha, method="fdr_bh")
    if np.abs(theirs[1] - alpha).min() > 1e-9:
        assert e_bh([-math.log(p) for p in ps], alpha) == theirs[0].tolist()


def test_the_threshold_of_the_default_guardrails() -> None:
    # README C6: three guardrails at 0.05 together, threshold_log_e 4.0943.
    assert round(union_log_threshold(3, 0.05), 4) == 4.0943
    assert union_log_threshold(1, 0.05) == pytest.approx(math.log(20))


def test_no_tests_find_nothing() -> None:
    assert holm_adjusted([]) == []
    assert e_bh([], 0.05) == []
    assert union_log_threshold(0, 0.05) == math.inf


def test_no_evidence_at_all_is_no_discovery() -> None:
    assert e_bh([-math.inf, math.log(1000)], 0.05) == [False, True]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(Invalid):
        union_log_threshold(1, alpha)
    with pytest.raises(Invalid):
        e_bh([0.0], alpha)


def test_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(Invalid):
        holm_adjusted([0.5, 1.5])
    with pytest.raises(Invalid):
        holm_adjusted([math.nan])
    with pytest.raises(Invalid):
        e_bh([math.nan], 0.05)
    with pytest.raises(Invalid):
        union_log_threshold(-1, 0.05)


def test_false_discoveries_stay_within_alpha() -> None:
    # Ten bets of which seven are fair: e = exp(z t - t^2 / 2) with t = 3.
    rng, runs, alpha = np.random.default_rng(20261121), 4000, 0.1
    z = rng.normal(size=(runs, 10)) + np.where(np.arange(10) < 7, 0.0, 4.0)
    false = []
    for row in 3 * z - 4.5:
        found = np.array(e_bh(row.tolist(), alpha))
        false.append(found[:7].sum() / max(found.sum(), 1))
    assert np.mean(false) <= alpha + 3 * np.std(false) / math.sqrt(runs)
    assert np.mean(false) > 0
