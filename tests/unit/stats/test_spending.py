"""Half of alpha while running, half at the end: identities and a seeded simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from sidecar.core.errors import Invalid
from sidecar.core.stats.sequential import half_width
from sidecar.core.stats.spending import Spending

alphas = st.floats(0.001, 0.5)
errors = st.floats(1e-4, 1)


def test_the_default_spends_half_and_half() -> None:
    spending = Spending(0.05)
    assert (spending.alpha_sequential, spending.alpha_at_horizon) == (0.025, 0.025)
    # Normal tables: 1.25 % on each side.
    assert round(spending.z_at_horizon, 4) == 2.2414


def test_without_a_look_at_the_horizon_all_is_spent_on_the_way() -> None:
    spending = Spending(0.05, horizon_look=False)
    assert (spending.alpha_sequential, spending.alpha_at_horizon) == (0.05, 0.0)
    assert spending.z_at_horizon == math.inf
    running = half_width(0.01, 0.03, 0.05)
    assert spending.half_width(0.01, 0.03, at_horizon=True) == running
    assert spending.half_width(0.01, 0.03, at_horizon=False) == running


@given(alphas, st.booleans())
def test_the_parts_add_up_to_alpha(alpha: float, look: bool) -> None:
    spending = Spending(alpha, horizon_look=look)
    assert spending.alpha_sequential + spending.alpha_at_horizon == pytest.approx(alpha)


@given(alphas)
def test_the_horizons_multiple_is_the_normal_quantile(alpha: float) -> None:
    found = Spending(alpha).z_at_horizon
    assert found == pytest.approx(norm.isf(alpha / 4))


@given(alphas, errors, errors)
def test_the_interval_at_the_horizon_is_never_wider_than_on_the_way(
    alpha: float, se: float, tau: float
) -> None:
    spending = Spending(alpha)
    on_the_way = spending.half_width(se, tau, at_horizon=False)
    assert spending.half_width(se, tau, at_horizon=True) <= on_the_way
    assert on_the_way == half_width(se, tau, alpha / 2)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0, -0.05, math.nan])
def test_an_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(Invalid):
        Spending(alpha)


def ever_excluded(mean: float, spending: Spending, runs: int) -> tuple[int, int]:
    """Of some experiments with 100 looks, how many ever excluded 0 before and at the end."""
    rng, looks = np.random.default_rng(20261121), np.arange(1, 101)
    sums = np.cumsum(rng.normal(mean, 1, (runs, 100)), axis=1)
    estimate, se = sums / looks, 1 / np.sqrt(looks)
    wide = np.array([spending.half_width(s, 0.3, at_horizon=False) for s in se])
    out = np.abs(estimate) > wide
    last = abs(estimate[:, -1]) > spending.half_width(se[-1], 0.3, at_horizon=True)
    return int(out.any(axis=1).sum()), int((out.any(axis=1) | last).sum())


def test_all_looks_together_err_with_probability_alpha_at_most() -> None:
    runs = 4000
    before, all_looks = ever_excluded(0.0, Spending(0.05), runs)
    assert binomtest(before, runs, 0.025, alternative="greater").pvalue > 0.001
    assert binomtest(all_looks, runs, 0.05, alternative="greater").pvalue > 0.001
    assert all_looks > before


def test_the_look_at_the_horizon_buys_power() -> None:
    runs = 2000
    # An effect that a single look at 100 observations finds with probability 0.8.
    _, hybrid = ever_excluded(0.2802, Spending(0.05), runs)
    _, sequential = ever_excluded(0.2802, Spending(0.05, horizon_look=False), runs)
    assert hybrid > sequential + 3 * math.sqrt(runs / 4)
