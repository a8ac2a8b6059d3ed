"""Is the stratified difference of proportions right, and its gate strict enough?"""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from sidecar.core.errors import Invalid
from sidecar.core.stats.proportions import (
    GATE_EXPECTED_MINORITY,
    Difference,
    Stratum,
    newcombe_interval,
    pooled_difference,
    stratified_difference,
    stratified_differences,
    wilson_interval,
)
from sidecar.core.stats.sequential import (
    confidence_sequence,
    half_width,
    log_e_against,
    p_anytime,
)

# The audited labels of the worked example in the statistics' specification (C6): primary's
# labels and agreements, canary's labels and agreements, at shares of 1, 5, 25 and 50 %.
EXAMPLE = [
    Stratum(495, 417, 5, 4),
    Stratum(471, 385, 25, 22),
    Stratum(748, 639, 249, 216),
    Stratum(402, 330, 398, 349),
]


@st.composite
def strata(draw: st.DrawFn) -> Stratum:
    n_p, n_c = draw(st.integers(0, 2_000)), draw(st.integers(0, 2_000))
    return Stratum(n_p, draw(st.integers(0, n_p)), n_c, draw(st.integers(0, n_c)))


def test_the_worked_example_is_reproduced_to_its_printed_digits() -> None:
    found = stratified_difference(EXAMPLE)
    assert found is not None
    assert found.estimate == pytest.approx(0.03595, abs=5e-6)
    assert found.se == pytest.approx(0.01736, abs=5e-6)
    assert found.expected_minority == pytest.approx(100.9, abs=0.05)
    assert (found.n_primary, found.n_canary) == (2116, 677)
    assert found.gate_open
    interval = confidence_sequence(found.estimate, found.se, 0.03, 0.025)
    assert (interval.low, interval.high) == pytest.approx((-0.02340, 0.09530), abs=5e-6)
    p = [
        p_anytime(log_e_against(null, estimate=found.estimate, se=found.se, tau=0.03))
        for null in (-0.03, 0.0)
    ]
    assert p == pytest.approx([0.00894, 0.4002], abs=5e-5)
    assert pooled_difference(EXAMPLE) == pytest.approx(0.03601, abs=5e-6)


@pytest.mark.parametrize(
    ("canary", "primary", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10, four digits
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_newcombes_interval_is_his_and_statsmodels(
    canary: tuple[int, int], primary: tuple[int, int], low: float, high: float
) -> None:
    found = newcombe_interval(Stratum(primary[1], primary[0], canary[1], canary[0]), 0.05)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    other = confint_proportions_2indep(*canary, *primary, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_newcombes_method_3_and_statsmodels(
    hits: int, n: int, low: float, high: float
) -> None:
    found = wilson_interval(hits, n, 0.05)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    other = proportion_confint(hits, n, method="wilson")
    assert (found.low, found.high) == pytest.approx(other, abs=1e-12)


@settings(deadline=None)
@given(st.lists(strata(), min_size=1, max_size=6))
def test_the_estimate_is_that_of_least_squares_with_stage_dummies(parts: list[Stratum]) -> None:
    found = stratified_difference(parts)
    if found is None:
        return
    rows, outcome, weight = [], [], []
    for index, part in enumerate(parts):
        for arm, n, x in (
            (0, part.n_primary, part.x_primary),
            (1, part.n_canary, part.x_canary),
        ):
            if n:
                rows.append([arm, *(float(index == other) for other in range(len(parts)))])
                outcome.append(x / n)
                weight.append(math.sqrt(n))
    root = np.array(weight)
    solved = np.linalg.lstsq(
        np.array(rows) * root[:, None], np.array(outcome) * root, rcond=None
    )
    assert found.estimate == pytest.approx(solved[0][0], abs=1e-8)


@settings(deadline=None)
@given(strata())
def test_one_stage_is_the_plain_difference_with_agresti_and_caffos_variance(
    part: Stratum,
) -> None:
    found = stratified_difference([part])
    if found is None:
        assert part.n_primary == 0 or part.n_canary == 0
        return
    p, q = part.x_primary / part.n_primary, part.x_canary / part.n_canary
    assert found.estimate == pytest.approx(q - p, abs=1e-12)
    assert found.estimate == pytest.approx(pooled_difference([part]), abs=1e-12)
    shrunk = [
        (x + 1) / (n + 2)
        for x, n in ((part.x_primary, part.n_primary), (part.x_canary, part.n_canary))
    ]
    variance = sum(
        s * (1 - s) / n for s, n in zip(shrunk, (part.n_primary, part.n_canary), strict=True)
    )
    assert found.se == pytest.approx(math.sqrt(variance))


@settings(deadline=None)
@given(st.lists(strata(), max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_stages_does_not_matter_and_swapping_arms_flips_the_sign(
    parts: list[Stratum], random: Random
) -> None:
    found = stratified_difference(parts)
    mixed = random.sample(parts, len(parts))
    swapped = [Stratum(s.n_canary, s.x_canary, s.n_primary, s.x_primary) for s in parts]
    again, flipped = stratified_difference(mixed), stratified_difference(swapped)
    if found is None:
        assert again is None
        assert flipped is None
        return
    assert again.estimate == pytest.approx(found.estimate, abs=1e-12)
    assert flipped.estimate == pytest.approx(-found.estimate, abs=1e-12)
    assert flipped.se == pytest.approx(found.se)
    assert flipped.expected_minority == pytest.approx(found.expected_minority)


def test_a_stage_with_one_arm_adds_nothing() -> None:
    lonely = [Stratum(900, 100, 0, 0), Stratum(0, 0, 70, 70)]
    assert stratified_difference([*EXAMPLE, *lonely]) == stratified_difference(EXAMPLE)
    assert stratified_difference(lonely) is None
    assert stratified_difference([]) is None
    assert pooled_difference(lonely[:1]) is None
    assert newcombe_interval(lonely[0], 0.05) is None


def test_a_canary_that_never_failed_is_not_certain_and_its_gate_is_closed() -> None:
    found = stratified_difference([Stratum(2_000, 1_900, 100, 100)])
    assert found is not None
    assert found.se > 0.009  # the plain variance would be the primary's alone: 0.0049
    assert found.expected_minority == pytest.approx(4.76, abs=0.01)
    assert not found.gate_open


def test_the_gate_asks_for_thirty_rarer_outcomes_and_fifty_labels() -> None:
    def gate(expected_minority: float, n_canary: float) -> bool:
        return Difference(0.0, 0.01, expected_minority, 1e4, n_canary).gate_open

    assert gate(30, 50)
    assert not gate(29.9, 5_000)
    assert not gate(40, 49)


def test_ten_million_labels_keep_their_precision() -> None:
    found = stratified_difference([Stratum(1e7, 9_500_000, 1e7, 9_501_000)])
    assert found.estimate == pytest.approx(1e-4)
    assert found.se == pytest.approx(math.sqrt(2 * 0.05 * 0.95 / 1e7), rel=1e-3)


@pytest.mark.parametrize(
    "counts",
    [(-1, 0, 1, 1), (1, 2, 1, 1), (1, 1, 1, 1.5), (math.inf, 1, 1, 1), (1, math.nan, 1, 1)],
)
def test_counts_that_cannot_be_are_refused(counts: tuple[float, ...]) -> None:
    with pytest.raises(Invalid):
        Stratum(*counts)


def test_many_experiments_at_once_give_what_one_at_a_time_gives() -> None:
    table = np.array(
        [[s.n_primary, s.x_primary, s.n_canary, s.x_canary] for s in EXAMPLE], float
    )
    batch = np.stack([table, np.zeros_like(table), table[::-1]])
    estimate, se, minority = stratified_differences(*np.moveaxis(batch, -1, 0))
    found = stratified_difference(EXAMPLE)
    assert estimate[[0, 2]] == pytest.approx([found.estimate] * 2)
    assert se[[0, 2]] == pytest.approx([found.se] * 2)
    assert minority == pytest.approx([found.expected_minority, 0, found.expected_minority])
    assert math.isnan(estimate[1])
    assert math.isinf(se[1])


def aa_paths(rate: float) -> tuple[np.ndarray, ...]:
    """Counts of 2,000 A/A experiments at 5 % canary, at 150 looks of 100 labels each."""
    rng = np.random.default_rng(5)
    new_canary = rng.binomial(100, 0.05, (2_000, 150))
    counts = (100 - new_canary, new_canary)
    paths = [
        np.cumsum(each, axis=1, dtype=float)[..., None]
        for n in counts
        for each in (n, rng.binomial(n, rate))
    ]
    return tuple(paths)


def test_the_gate_keeps_false_promotions_of_a_rare_failure_within_alpha() -> None:
    n_p, x_p, n_c, x_c = aa_paths(0.95)
    estimate, se, minority = stratified_differences(n_p, x_p, n_c, x_c)
    gate = minority >= GATE_EXPECTED_MINORITY
    sure = np.where(gate, half_width(np.where(gate, se, 1.0), 0.03, 0.05), np.inf)
    promoted = (estimate - sure > 0).any(axis=1).sum()
    bound = binom.ppf(1 - 1e-4, 2_000, 0.025)
    assert promoted <= bound
    assert gate[:, -1].mean() > 0.9  # it does open
    # Without the gate and Agresti and Caffo's variance the same paths promote far too often.
    p, q = (x_p / n_p)[..., 0], (x_c / np.maximum(n_c, 1))[..., 0]
    plain = np.sqrt(p * (1 - p) / n_p[..., 0] + q * (1 - q) / np.maximum(n_c, 1)[..., 0])
    shown = n_c[..., 0] >= 30
    rash = np.where(shown, half_width(np.where(shown, plain, 1.0), 0.03, 0.05), np.inf)
    assert (q - p - rash > 0).any(axis=1).sum() > 3 * bound


def test_a_ramp_over_a_drifting_base_fools_the_pooled_difference_alone() -> None:
    rng = np.random.default_rng(3)
    runs, fooled_stratified, fooled_pooled = 400, 0, 0
    shares, rates = (0.01, 0.05, 0.25, 0.5), (0.70, 0.75, 0.80, 0.85)
    for _ in range(runs):
        parts = []
        for share, rate in zip(shares, rates, strict=True):
            n_c = int(rng.binomial(4_000, share))
            n_p = 4_000 - n_c
            parts.append(Stratum(n_p, rng.binomial(n_p, rate), n_c, rng.binomial(n_c, rate)))
        found = stratified_difference(parts)
        fooled_stratified += abs(found.estimate) > 1.96 * found.se
        fooled_pooled += abs(pooled_difference(parts)) > 1.96 * found.se
    assert fooled_stratified <= binom.ppf(1 - 1e-4, runs, 0.05)
    assert fooled_pooled > 0.95 * runs
