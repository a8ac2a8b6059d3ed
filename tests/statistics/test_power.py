"""Planning numbers against statsmodels, the study's published sizes, and simulation."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.power import NormalIndPower

from sidecar.core.errors import Invalid
from sidecar.core.stats.power import (
    INFLATION,
    Look,
    Planned,
    Reading,
    detectable_distance,
    eta_s,
    information_multiple,
    labels_needed,
    rate_variance,
    share_factor,
)
from sidecar.core.stats.sequential import half_width

shares = st.floats(0.01, 0.99)
distances = st.floats(0.005, 0.5)
rates = st.floats(0.05, 0.95)


def planned(primary: float, canary: float, **changes: Any) -> Planned:
    return Planned(
        variance_primary=rate_variance(primary),
        variance_canary=rate_variance(canary),
        **{"look": Look.ONCE, **changes},
    )


@pytest.mark.parametrize(
    ("primary", "canary", "share", "labels"),
    [
        # README D3: the fixed sizes n0 (both arms together), alpha 0.05, power 0.8.
        (0.80, 0.85, 0.5, 1805),
        (0.80, 0.85, 0.1, 4561),
        (0.80, 0.90, 0.5, 392),
        (0.80, 0.83, 0.5, 5252),
    ],
)
def test_the_labels_needed_are_the_published_ones(
    primary: float, canary: float, share: float, labels: int
) -> None:
    found = labels_needed(planned(primary, canary, share=share), canary - primary)
    assert abs(found - labels) <= 1


@given(rates, distances, shares, st.floats(0.5, 0.95))
def test_the_labels_needed_have_the_power_statsmodels_says(
    rate: float, distance: float, share: float, power: float
) -> None:
    labels = planned(rate, rate, share=share, power=power).information / distance**2
    # `ratio`: canary labels for each primary one. `larger` at alpha/2 leaves out, as we do,
    # the chance of a significant result in the wrong direction.
    found = NormalIndPower().power(
        effect_size=distance / math.sqrt(rate_variance(rate)),
        nobs1=labels * (1 - share),
        alpha=0.025,
        ratio=share / (1 - share),
        alternative="larger",
    )
    assert found == pytest.approx(power, rel=1e-9)


@given(rates, shares, distances)
def test_an_uneven_split_costs_the_published_factor(
    rate: float, share: float, distance: float
) -> None:
    even = planned(rate, rate).information
    uneven = planned(rate, rate, share=share).information
    assert uneven == pytest.approx(even * share_factor(share))


def test_the_factor_of_a_one_percent_canary() -> None:
    assert share_factor(0.01) == pytest.approx(25.2525, abs=1e-4)
    assert share_factor(0.5) == 1


@given(rates, rates, shares, distances, st.sampled_from(list(Look)))
def test_what_can_be_detected_is_the_inverse_of_what_is_needed(
    a: float, b: float, share: float, distance: float, look: Look
) -> None:
    plan = planned(a, b, share=share, look=look)
    n = labels_needed(plan, distance)
    assert detectable_distance(plan, n) <= distance * (1 + 1e-12)
    # One label less would not do.
    if n > 1:
        assert detectable_distance(plan, n - 1) >= distance * (1 - 1e-12)


def test_looking_always_costs_more_than_looking_at_the_end_too() -> None:
    sizes = [labels_needed(planned(0.8, 0.85, look=look), 0.05) for look in Look]
    assert sizes == [1806, 2979, 2257]
    assert INFLATION[Look.ONCE] < INFLATION[Look.HYBRID] < INFLATION[Look.ALWAYS]


def test_the_time_to_the_missing_labels() -> None:
    assert eta_s(600, 0.5) == 1200
    assert eta_s(0, 0.0) == 0
    assert eta_s(-5, 1.0) == 0
    assert eta_s(10, 0.0) is None


def test_the_projection_solves_for_the_width_of_the_sequence() -> None:
    reading = Reading(estimate=0.0, se=0.017356, tau=0.03, alpha=0.025)
    multiple = information_multiple(reading, -0.03)
    assert multiple is not None
    assert multiple > 1
    projected = half_width(0.017356 / math.sqrt(multiple), 0.03, 0.025)
    assert projected == pytest.approx(0.03, rel=1e-8)


def test_the_example_result_needs_no_more_at_the_full_alpha() -> None:
    # example.py prints, for the goal of README C6, "info multiple 1.0".
    reading = Reading(estimate=0.035951, se=0.017356, tau=0.03, alpha=0.05)
    assert information_multiple(reading, -0.03) == 1.0


@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.1), st.floats(0.01, 0.1))
def test_a_projection_is_at_least_one_and_falls_with_the_distance(
    estimate: float, se: float, tau: float
) -> None:
    reading = Reading(estimate, se, tau, 0.025)
    near = information_multiple(reading, estimate - 0.01)
    far = information_multiple(reading, estimate - 0.02)
    assert near is not None
    assert far is not None
    assert near >= far >= 1


@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.1))
def test_a_projection_is_the_same_on_both_sides_of_a_bound(distance: float, se: float) -> None:
    above = information_multiple(Reading(distance, se, 0.03, 0.05), 0.0)
    below = information_multiple(Reading(-distance, se, 0.03, 0.05), 0.0)
    assert above == below


def test_an_estimate_on_the_bound_never_leaves_it() -> None:
    assert information_multiple(Reading(-0.03, 0.01, 0.03, 0.05), -0.03) is None
    assert information_multiple(Reading(-0.03 + 1e-16, 0.01, 0.03, 0.05), -0.03) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"share": 0.0}, id="no canary"),
        pytest.param({"share": 1.0}, id="no primary"),
        pytest.param({"alpha": 0.0}, id="no error permitted"),
        pytest.param({"power": 1.0}, id="certainty"),
        pytest.param({"power": 0.01}, id="less than chance gives"),
        pytest.param({"variance_primary": -1.0}, id="a negative variance"),
        pytest.param({"variance_canary": math.nan}, id="not a number"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        Planned(**{"variance_primary": 0.2, "variance_canary": 0.2, **change})


def test_questions_that_cannot_be_are_refused() -> None:
    plan = planned(0.8, 0.8)
    for ask in (
        lambda: labels_needed(plan, 0.0),
        lambda: detectable_distance(plan, 0),
        lambda: rate_variance(1.2),
        lambda: share_factor(1.0),
        lambda: information_multiple(Reading(math.nan, 0.1, 0.03, 0.05), 0.0),
        lambda: information_multiple(Reading(0.1, 0.0, 0.03, 0.05), 0.0),
    ):
        with pytest.raises(Invalid):
            ask()


def test_arms_that_never_vary_need_one_label_at_most() -> None:
    assert labels_needed(planned(1.0, 1.0), 0.05) == 0


def test_the_planned_size_has_the_planned_power() -> None:
    rng, runs = np.random.default_rng(20261121), 4000
    half = labels_needed(planned(0.80, 0.85), 0.05) // 2
    canary, primary = (rng.binomial(half, rate, runs) / half for rate in (0.85, 0.80))
    se = np.sqrt((canary * (1 - canary) + primary * (1 - primary)) / half)
    found = int(((canary - primary) / se > 1.959963984540054).sum())
    assert binomtest(found, runs, 0.80).pvalue > 0.001
