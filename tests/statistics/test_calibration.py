"""Calibration against scikit-learn, statsmodels and hand formulas."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from sidecar.core.errors import Invalid
from sidecar.core.stats.calibration import (
    BINS,
    BrierSums,
    ReliabilityBin,
    brier,
    expected_calibration_error,
    reliability,
)

few = settings(max_examples=30)  # an example costs milliseconds
Call = tuple[float, bool, float]  # confidence, whether right, weight
Column = Sequence[float] | np.ndarray
calls = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.floats(1, 20)), min_size=2, max_size=30
)


def brier_sums(confidence: Column, right: Column, weight: Column) -> BrierSums:
    f, y, w = np.asarray(confidence), np.asarray(right, float), np.asarray(weight)
    b = (f - y) ** 2
    return BrierSums(
        w=w.sum(),
        w2=(w * w).sum(),
        w_brier=(w * b).sum(),
        w2_brier=(w * w * b).sum(),
        w2_brier2=(w * w * b * b).sum(),
    )


def binned(confidence: Column, right: Column, weight: Column) -> list[ReliabilityBin]:
    bins = [ReliabilityBin(0.0, 0.0, 0.0)] * BINS
    for f, y, w in zip(confidence, right, weight, strict=True):
        index = min(int(f * BINS), BINS - 1)
        bins[index] += ReliabilityBin(w, w * f, w * y)
    return bins


@few
@given(calls)
def test_the_brier_score_is_scikit_learns_and_its_error_that_of_a_robust_regression(
    rows: list[Call],
) -> None:
    f, y, w = (np.array(column, float) for column in zip(*rows, strict=True))
    ours = brier(brier_sums(f, y, w))
    assert ours is not None
    theirs = brier_score_loss(y, f, sample_weight=w, pos_label=1)
    assert ours.value == pytest.approx(theirs, abs=1e-12)
    # A weighted mean's linearised error is White's HC0 of a regression on a constant.
    fit = sm.WLS((f - y) ** 2, np.ones(len(f)), weights=w).fit(cov_type="HC0")
    assert ours.se == pytest.approx(fit.bse[0], abs=1e-7)


@few
@given(calls, calls)
def test_adding_sums_is_merging_samples(one: list[Call], other: list[Call]) -> None:
    split = [brier_sums(*zip(*rows, strict=True)) for rows in (one, other)]
    merged = brier(brier_sums(*zip(*one, *other, strict=True)))
    added = brier(split[0] + split[1])
    assert added is not None
    assert merged is not None
    assert added.value == pytest.approx(merged.value)
    assert added.se == pytest.approx(merged.se, abs=1e-7)


def test_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(7)
    f = rng.random(500)
    y = rng.random(500) < f**2
    points = reliability(binned(f, y, np.ones(500)))
    accuracy, confidence = calibration_curve(y, f, n_bins=BINS)
    assert [point.accuracy for point in points] == pytest.approx(accuracy.tolist())
    assert [point.confidence for point in points] == pytest.approx(confidence.tolist())


def test_the_calibration_error_of_a_hand_made_example() -> None:
    # Three quarters say 0.9 and are right in 0.6 of the cases; one quarter says 0.3 and is
    # right in 0.5: 0.75 * 0.3 + 0.25 * 0.2.
    bins = [ReliabilityBin(0, 0, 0)] * BINS
    bins[9] = ReliabilityBin(75, 67.5, 45)
    bins[3] = ReliabilityBin(25, 7.5, 12.5)
    assert expected_calibration_error(bins) == pytest.approx(0.275)
    assert [(point.low, point.share) for point in reliability(bins)] == [
        (0.3, 0.25),
        (0.9, 0.75),
    ]


@few
@given(calls, st.floats(0.1, 10))
def test_the_calibration_error_does_not_depend_on_the_weights_scale(
    rows: list[Call], scale: float
) -> None:
    f, y, w = zip(*rows, strict=True)
    error = expected_calibration_error(binned(f, y, w))
    scaled = expected_calibration_error(binned(f, y, [scale * x for x in w]))
    assert error is not None
    assert 0 <= error <= 1 + 1e-12
    assert scaled == pytest.approx(error)


def test_nothing_labelled_is_none_and_never_zero() -> None:
    nothing = BrierSums(w=0, w2=0, w_brier=0, w2_brier=0, w2_brier2=0)
    assert brier(nothing) is None
    assert expected_calibration_error([ReliabilityBin(0, 0, 0)] * BINS) is None
    assert expected_calibration_error([]) is None
    assert reliability([]) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_sums_that_cannot_be_are_refused(bad: float) -> None:
    with pytest.raises(Invalid):
        brier(BrierSums(w=bad, w2=1, w_brier=1, w2_brier=1, w2_brier2=1))
    with pytest.raises(Invalid):
        reliability([ReliabilityBin(bad, 0, 0)])


def test_the_interval_of_the_brier_score_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(20261121)
    # Confidence uniform, right with that probability: E (f - y)^2 = E f (1 - f) = 1/6.
    runs, held = 500, 0
    for _ in range(runs):
        f, drawn = rng.random(1000), rng.random(1000) < 0.2
        y = rng.random(1000) < f
        score = brier(brier_sums(f[drawn], y[drawn], np.full(drawn.sum(), 5.0)))
        assert score is not None
        held += abs(score.value - 1 / 6) <= 1.959963984540054 * score.se
    assert abs(held / runs - 0.95) <= 0.01 + 3 * math.sqrt(0.95 * 0.05 / runs)
