"""Whatever calls arrive, there is an analysis that JSON can hold, and it is honest."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.analysis import analyse, readings_of, units_by_stage
from sidecar.core.cells import Cell
from sidecar.core.decision import decide
from sidecar.core.facts import Facts, ll_of
from sidecar.core.findings import Analysis, Verdict
from sidecar.core.plan_reading import plan_from
from sidecar.core.ramp import progress
from sidecar.core.readings import Standing, State
from sidecar.core.totals import NOTHING, UnitVector, moments_of, sums_of, vector_of
from tests.cells import NOON, cell, designs, weighted

SLOW_MS = 2_000.0
PLAN = plan_from(
    {
        "slow_ms": SLOW_MS,
        "guardrails": [
            {"metric": "bad_rate"},
            {"metric": "slow_share"},
            {"metric": "disagreements"},
            {"metric": "cost"},
        ],
    }
)
LABELS = ["relevant", "irrelevant", "maybe"]


def fact(arm: str, stage: int, unit: int, latency_ms: float, cost_usd: float | None) -> Facts:
    return Facts(
        experiment_id="e",
        epoch=1,
        stage=stage,
        arm=arm,
        unit_id=f"u{unit}",
        unit_source="header",
        outcome="served",
        failure=None,
        label=None,
        confidence=None,
        served_by="d",
        prompt_tokens=None,
        completion_tokens=None,
        cached_tokens=None,
        cost_usd=cost_usd,
        latency_ms=latency_ms,
        ll=ll_of(latency_ms),
        ttft_ll=None,
        audit_ppm=None,
        is_drawn=False,
    )


@st.composite
def calls(draw: st.DrawFn) -> Facts:
    found = fact(
        draw(st.sampled_from(["primary", "canary"])),
        draw(st.integers(1, 2)),
        draw(st.integers(0, 5)),
        draw(st.sampled_from([0.0, 10.0, 500.0, 2_001.0, 1e9])),
        draw(st.none() | st.sampled_from([0.0, 1e-9, 0.002, 50.0])),
    )
    if draw(st.booleans()):
        return found._replace(outcome=draw(st.sampled_from(["failed", "failed_over"])))
    return found._replace(
        label=draw(st.sampled_from(LABELS)),
        confidence=draw(st.none() | st.sampled_from([0.0, 0.3, 0.99, 1.0])),
        audit_ppm=draw(st.sampled_from([10_000, 100_000, 1_000_000])),
        is_drawn=draw(st.booleans()),
        human=draw(st.none() | st.sampled_from(LABELS)),
    )


def cells_of(facts: Sequence[Facts]) -> dict[tuple[int, str], Cell]:
    found = {}
    for key in {(f.stage, f.arm) for f in facts}:
        mine = [f for f in facts if (f.stage, f.arm) == key]
        units: dict[str, UnitVector] = {}
        for f in mine:
            before = units.get(f.unit_id, NOTHING)
            added = zip(before, vector_of(f, SLOW_MS), strict=True)
            units[f.unit_id] = UnitVector(*(a + b for a, b in added))
        found[key] = Cell({**sums_of(mine, SLOW_MS), **moments_of(list(units.values()))})
    return found


def concluded(found: Analysis, cells: dict[tuple[int, str], Cell]) -> State:
    stages = designs(500, 5_000)
    where = progress(PLAN, stages, units_by_stage(PLAN, stages, cells), now=NOON)
    readings = readings_of(found, where, canary="canary", at=NOON, data_age_s=1.0)
    return decide(PLAN, readings, Standing()).state


@settings(max_examples=40)
@given(st.lists(calls(), max_size=60))
def test_any_calls_give_an_analysis_that_json_can_hold(facts: list[Facts]) -> None:
    cells = cells_of(facts)
    found = analyse(PLAN, designs(500, 5_000), cells, now=NOON)
    document = json.loads(json.dumps(asdict(found), allow_nan=False))
    goal = found.goals[0]

    assert document["goals"][0]["verdict"] == goal.verdict
    # Sixty calls never suffice for an interval.
    assert (goal.estimate, goal.interval) == (None, None)
    assert concluded(found, cells) is not State.PROMOTE


def test_a_canary_that_only_fails_is_rolled_back_and_a_shared_outage_is_not() -> None:
    stages = designs(500, 5_000)
    failing = {(2, "primary"): cell(40, bad=1), (2, "canary"): cell(40, bad=40)}
    outage = {(2, arm): cell(1_000, bad=1_000) for arm in ("primary", "canary")}

    assert concluded(analyse(PLAN, stages, failing, now=NOON), failing) is State.ROLLBACK
    both = analyse(PLAN, stages, outage, now=NOON)
    assert both.guardrails[0].verdict is Verdict.OK
    assert both.goals[0].estimate is None


def test_agreement_without_exception_leaves_the_gate_closed_however_many_labels() -> None:
    cells = {(2, arm): cell(10**6, audited=(10**5, 10**5)) for arm in ("primary", "canary")}
    goal = analyse(PLAN, designs(500, 5_000), cells, now=NOON).goals[0]

    assert goal.gate.expected_minority == 0
    assert (goal.canary_unstratified, goal.estimate) == (1.0, None)


def test_ten_million_calls_of_one_unit_are_one_unit() -> None:
    n, w = 10**7, 10**7
    sums = weighted(10**6, 8 * 10**5, w)
    lone = {"u_w2": (10**6 * w) ** 2, "u_wy2": (8 * 10**5 * w) ** 2}
    lone |= {"u_wy_w": 8 * 10**5 * 10**6 * w * w, "units": 1, "nn": n * n, "units_bad": 1}
    crowd = cell(n, audited=(10**6, 8 * 10**5), **sums)
    cells = {(2, arm): Cell({**crowd.totals, **lone}) for arm in ("primary", "canary")}
    found = analyse(PLAN, designs(500, 5_000), cells, now=NOON)

    assert found.goals[0].verdict is not Verdict.PASS
    assert concluded(found, cells) is not State.PROMOTE


@pytest.mark.parametrize("canary_agrees", [800, 850])
def test_more_of_the_same_labels_narrow_the_interval(canary_agrees: int) -> None:
    widths = []
    for times in (1, 2, 4):
        cells = {
            (2, "primary"): cell(10_000 * times, audited=(1_000 * times, 800 * times)),
            (2, "canary"): cell(10_000 * times, audited=(1_000 * times, canary_agrees * times)),
        }
        low, high = analyse(PLAN, designs(500, 5_000), cells, now=NOON).goals[0].interval
        widths.append(high - low)

    assert widths == sorted(widths, reverse=True)
