"""Are the numbers that calls add to the totals the right ones, and exact?"""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.cells import Cell, Pair
from sidecar.core.facts import Facts, bucket_of, ll_of, nano_usd, parts_of, weight_of
from sidecar.core.tallies import Tally, UnitKey, joined, moved, newly_shared, shared, tally
from sidecar.core.totals import (
    UnitVector,
    added,
    change,
    moments_of,
    pair_name,
    sums_of,
    vector_of,
)
from tests.measured import Made

DRAWN = {"audit_ppm": 100_000, "is_drawn": True}


def fact(**more: Any) -> Facts:
    human = more.pop("human", None)
    values = more.pop("values", ())
    return Made(**more).facts._replace(human=human, values=values)


@pytest.mark.parametrize(
    ("of", "given_", "expected"),
    [
        (ll_of, math.e, 1_000_000),
        (ll_of, -5.0, ll_of(0.001)),
        (ll_of, math.inf, ll_of(1e12)),
        (nano_usd, 0.00031, 310_000),
        (nano_usd, 0.0, 0),
        (nano_usd, None, None),
        (nano_usd, -0.01, None),
        (nano_usd, 1e7, None),
        (nano_usd, math.nan, None),
        (parts_of, None, 5_000),
        (parts_of, 1.0, 10_000),
        (weight_of, 1_000_000, 1_000_000),
        (weight_of, 56_250, 17_777_778),
    ],
)
def test_a_measure_becomes_a_whole_number(
    of: Callable[[Any], int | None], given_: float | None, expected: int | None
) -> None:
    assert of(given_) == expected


@given(st.floats(0.001, 1e9))
def test_a_bucket_holds_the_durations_within_four_percent(duration_ms: float) -> None:
    place = bucket_of(ll_of(duration_ms))
    ll = math.log(duration_ms)
    assert place * math.log(1.04) <= ll + 1e-6
    assert ll - 1e-6 < (place + 1) * math.log(1.04)


def test_a_call_that_another_arm_answered_is_bad_and_its_label_does_not_count() -> None:
    sums = sums_of([fact(outcome="failed_over", **DRAWN, human="relevant")], None)
    assert (sums["calls"], sums["ok"], sums["bad"]) == (1, 0, 1)
    assert not any(name.startswith("label:") for name in sums)
    assert "audit_n" not in sums


def test_an_answer_that_cannot_be_read_is_bad() -> None:
    call = fact(label=None, failure="invalid_output", audit_ppm=None, is_drawn=False)
    sums = sums_of([call], None)
    assert (sums["bad"], sums["failure:invalid_output"]) == (1, 1)


def test_slow_is_what_takes_longer_than_the_plan_says() -> None:
    calls = [fact(latency_ms=900.0), fact(latency_ms=900.1)]
    assert sums_of(calls, 900.0)["slow"] == 1
    assert sums_of(calls, None)["slow"] == 0


def test_what_is_unknown_adds_nothing_and_is_not_counted_as_known() -> None:
    sums = sums_of([fact(cost_usd=None, cached_tokens=None), fact(cost_usd=0.5)], None)
    assert (sums["cost"], sums["cost_known"]) == (500_000_000, 1)
    assert (sums["cached_tokens"], sums["cached_tokens_known"]) == (0, 0)


def test_a_labelled_call_adds_its_weight_and_its_agreement() -> None:
    calls = [
        fact(**DRAWN, label="maybe", confidence=0.9, human="maybe"),
        fact(audit_ppm=500_000, label="maybe", confidence=0.25, human="relevant"),
        fact(**DRAWN),  # drawn, and no label has come back
        fact(audit_ppm=100_000, is_drawn=False, human="maybe"),
        fact(audit_ppm=None, is_drawn=False),
    ]
    cell = Cell(sums_of(calls, None))
    audit = cell.audit
    assert (audit.audit_n, audit.drawn, audit.labelled, audit.agree) == (4, 3, 2, 1)
    assert (audit.w, audit.wy, audit.w2, audit.w2y) == (12.0, 10.0, 104.0, 100.0)
    assert (audit.wf, audit.wyf, audit.wff) == (9.5, 9.0, 8.225)
    assert (audit.w2f, audit.w2yf, audit.w2ff) == (91.0, 90.0, 81.25)
    assert audit.w_brier == pytest.approx(10 * 0.01 + 2 * 0.0625)
    assert audit.w2_brier2 == pytest.approx(100 * 0.01**2 + 4 * 0.0625**2)
    assert cell.confusion == {
        ("maybe", "maybe"): Pair(1, 10.0),
        ("maybe", "relevant"): Pair(1, 2.0),
    }
    assert [bin_.w for bin_ in cell.reliability] == [0, 0, 2, 0, 0, 0, 0, 0, 0, 10]
    assert cell.count("disagree") == 1


def test_named_values_are_summed_over_drawn_calls_only() -> None:
    calls = [
        fact(**DRAWN, values=(("approved", 1_000_000), ("score", -500_000))),
        fact(audit_ppm=100_000, is_drawn=False, values=(("approved", 1_000_000),)),
    ]
    cell = Cell(sums_of(calls, None))
    assert cell.value_names == ["approved", "score"]
    score = cell.value("score")
    assert (score.n, score.v, score.vv, score.w, score.wv) == (1, -0.5, 0.25, 10.0, -5.0)
    assert (score.w2, score.w2v, score.w2vv) == (100.0, -50.0, 25.0)


def test_moments_are_sums_of_products_over_units() -> None:
    units = [UnitVector(3, 1, 0, 10, 7, 5, 5), UnitVector(1, 1, 1, -4, 0, 2, 0)]
    found = moments_of(units)
    assert found["units"] == 2
    assert found["nn"] == 10
    assert (found["units_bad"], found["bad_n"], found["bad2"]) == (2, 4, 2)
    assert (found["units_slow"], found["slow_n"], found["slow2"]) == (1, 1, 1)
    assert (found["ll_n"], found["ll2"]) == (26, 116)
    assert (found["cost_n"], found["cost2"]) == (21, 49)
    assert (found["u_w2"], found["u_wy2"], found["u_wy_w"]) == (29, 25, 25)


CALLS = st.lists(
    st.builds(
        fact,
        arm=st.sampled_from(["primary", "canary"]),
        unit_id=st.sampled_from(["u-1", "u-2"]),
        unit_source=st.sampled_from(["header", "call"]),
        outcome=st.sampled_from(["served", "failed"]),
        latency_ms=st.floats(0, 1e6),
        cost_usd=st.none() | st.floats(0, 10),
        confidence=st.none() | st.floats(0, 1),
        human=st.sampled_from([None, "relevant", "maybe"]),
        values=st.sampled_from([(), (("approved", 1_000_000),)]),
    ),
    max_size=12,
)


def units_of(counted: Tally) -> dict[Any, UnitVector]:
    return dict(counted.units)


@given(CALLS, CALLS, st.none() | st.just(500.0))
def test_sums_do_not_depend_on_how_calls_are_split(
    first: list[Facts], second: list[Facts], slow_ms: float | None
) -> None:
    apart = added(sums_of(first, slow_ms), sums_of(second, slow_ms))
    together = sums_of([*second, *first], slow_ms)
    assert change(apart, together) == {}


@given(CALLS)
def test_counting_calls_and_taking_them_back_leaves_nothing(calls: list[Facts]) -> None:
    there, back = tally([], calls, {}), tally(calls, [], {})
    total = joined([*there.changes.items(), *back.changes.items()])
    assert not any(value for sums in total.values() for value in sums.values())
    assert there.units.keys() == back.units.keys()
    for key, vector in there.units.items():
        assert [a + b for a, b in zip(vector, back.units[key], strict=True)] == [0] * 7


@given(CALLS, CALLS)
def test_a_units_moments_change_by_what_they_are_after_less_before(
    first: list[Facts], second: list[Facts]
) -> None:
    before, more = tally([], first, {}), tally([], second, {})
    stepwise = joined(
        [*moved(before.units, {}).items(), *moved(more.units, before.units).items()]
    )
    at_once = tally([], [*first, *second], {})
    expected = moved(at_once.units, {})
    assert stepwise.keys() == expected.keys()
    assert all(change(stepwise[cell], expected[cell]) == {} for cell in expected)


def test_a_units_vector_is_the_sum_of_its_calls() -> None:
    calls = [fact(outcome="failed", cost_usd=None), fact(**DRAWN, human="relevant")]
    (vector,) = tally([], calls, {}).units.values()
    alone = [vector_of(call, None) for call in calls]
    assert list(vector) == [sum(column) for column in zip(*alone, strict=True)]
    assert vector[:3] == (2, 1, 0)
    assert vector.w == vector.wy == 10_000_000


@pytest.mark.parametrize(
    ("arms", "new", "expected"),
    [
        (["primary"], ["primary"], {}),
        (["canary", "primary"], ["canary"], {"canary": 1}),
        (["canary", "primary"], ["primary"], {"canary": 1}),
        (["canary", "primary"], ["canary", "primary"], {"canary": 1}),
        (["canary", "primary"], [], {}),
        (["a", "b"], ["a"], {"b": 1}),
        (["a", "b", "primary"], ["b"], {"b": 1}),
    ],
)
def test_a_unit_in_several_arms_counts_whatever_came_first(
    arms: list[str], new: list[str], expected: dict[str, int]
) -> None:
    assert newly_shared(arms, new) == expected


def test_units_that_come_to_a_second_arm_are_counted_stage_by_stage() -> None:
    def keys(arm: str, *units: str, stage: int = 1) -> list[UnitKey]:
        return [("exp-1", 1, stage, arm, unit) for unit in units]

    was = keys("primary", "u-1", "u-2") + keys("canary", "u-2")
    more = keys("canary", "u-1", "u-2", "u-3") + keys("primary", "u-3", "u-4")
    elsewhere = keys("canary", "u-4", stage=2)
    found = dict(shared([*more, *elsewhere], was))
    assert found == {("exp-1", 1, 1, "canary"): {"multi_arm_units": 2}}  # u-1 and u-3
    assert shared(more, [*was, *more]) == []


def test_a_pair_is_named_as_postgresql_names_it() -> None:
    found = pair_name("confusion", 'ja "so"', "né\n")
    assert found == 'confusion:["ja \\"so\\"","né\\n"]'


def test_a_cell_reads_its_kinds_and_durations_back() -> None:
    calls = [fact(latency_ms=1.0), fact(latency_ms=1.0, outcome="failed"), fact(ttft_ms=2.0)]
    cell = Cell(sums_of(calls, None))
    assert cell.kinds("outcome") == {"served": 2, "failed": 1}
    assert cell.kinds("served_by") == {"judge-a": 3}
    assert cell.durations("latency") == {0: 2, bucket_of(ll_of(412.5)): 1}
    assert cell.durations("ttft") == {bucket_of(ll_of(2.0)): 1}
    assert cell.cost_usd == pytest.approx(0.00093)
    assert cell.tokens("prompt_tokens") == 960
    assert cell.tokens("cached_tokens") is None
    assert (cell + cell).calls == 6


def test_an_empty_cell_says_zero_or_nothing_and_raises_nothing() -> None:
    cell = Cell({})
    assert (cell.calls, cell.cost_usd, cell.confusion) == (0, None, {})
    assert (cell.audit.labelled, cell.units.units, cell.value("approved").n) == (0, 0, 0)
