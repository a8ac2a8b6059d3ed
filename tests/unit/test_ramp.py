"""A canary climbs when its step has had its time and its units."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.plan import DEFAULT_RAMP, Holdback, Plan
from sidecar.core.ramp import (
    Progress,
    is_step_done,
    next_share_bp,
    progress,
    promoted_bp,
    shares_of,
)
from sidecar.core.results import StageDesign

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAN = Plan()


def stage(number: int, canary_bp: int, start_h: float, end_h: float | None) -> StageDesign:
    return StageDesign(
        number,
        {"primary": 10_000 - canary_bp, "canary": canary_bp},
        NOON + timedelta(hours=start_h),
        None if end_h is None else NOON + timedelta(hours=end_h),
    )


def test_before_the_first_stage_nothing_has_run() -> None:
    assert progress(PLAN, [], {}, now=NOON) == Progress(0, None, 0.0, 0.0, 0)


def test_a_pause_does_not_begin_a_step_anew_and_does_not_count_as_time() -> None:
    designs = [stage(1, 100, 0, 1), stage(2, 500, 1, 2), stage(3, 500, 5, None)]
    where = progress(PLAN, designs, {1: 60, 2: 70, 3: 40}, now=NOON + timedelta(hours=6))

    assert where == Progress(500, 1, run_s=3 * 3600, step_run_s=2 * 3600, step_units=110)


def test_an_earlier_step_of_the_same_share_is_another_step() -> None:
    designs = [stage(1, 500, 0, 1), stage(2, 0, 1, 2), stage(3, 500, 2, None)]
    where = progress(PLAN, designs, {1: 60, 3: 40}, now=NOON + timedelta(hours=3))

    assert (where.step, where.step_run_s, where.step_units) == (1, 3600, 40)


def test_a_share_that_a_person_set_is_no_step() -> None:
    assert progress(PLAN, [stage(1, 700, 0, None)], {}, now=NOON).step is None


def test_a_clock_set_back_is_no_time_and_not_less() -> None:
    designs = [stage(1, 100, 0, 1), stage(2, 500, 1, None)]

    where = progress(PLAN, designs, {}, now=NOON - timedelta(days=1))
    assert (where.run_s, where.step_run_s) == (3600, 0)


@pytest.mark.parametrize(
    ("run_s", "units", "done"),
    [(1_800, 50, True), (1_799, 50, False), (1_800, 49, False), (10**9, 0, False)],
)
def test_a_step_is_done_when_time_and_units_are_met(
    run_s: float, units: int, done: bool
) -> None:
    assert is_step_done(PLAN, 0, run_s=run_s, units=units) == done


def test_the_steps_follow_each_other_and_then_comes_the_promotion() -> None:
    assert [next_share_bp(PLAN, i) for i in range(len(DEFAULT_RAMP))] == [500, 2500, 5000, None]
    assert promoted_bp(PLAN) == 9_800
    assert promoted_bp(Plan(holdback=Holdback(0))) == 10_000


@given(st.integers(0, 10_000), st.integers(1, 7))
def test_shares_sum_to_all_traffic_and_canaries_differ_by_a_point_at_most(
    canary_bp: int, canaries: int
) -> None:
    plan = Plan(canaries=tuple(f"c{i}" for i in range(canaries)))
    shares = shares_of(plan, canary_bp)
    split = [bp for arm, bp in shares.items() if arm != "primary"]

    assert next(iter(shares)) == "primary"
    assert sum(shares.values()) == 10_000
    assert max(split) - min(split) <= 1
