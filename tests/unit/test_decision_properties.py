"""Whatever is read, the rule keeps its promises."""

import math
from dataclasses import replace
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.acting import after
from sidecar.core.decision import Decision, decide, is_stale
from sidecar.core.plan import Goal, InconclusiveAction, Mode, Objective, Plan
from sidecar.core.readings import TERMINAL, GoalReading, Readings, Standing, State
from sidecar.core.stats.sequential import Interval
from tests.looks import PLAN, guards

numbers = st.floats(allow_nan=False)
intervals = st.none() | st.tuples(numbers, numbers).map(lambda ends: Interval(*sorted(ends)))
anything = st.builds(
    Readings,
    at=st.datetimes(timezones=st.just(UTC)),
    goal=st.builds(
        GoalReading,
        estimate=st.none() | st.floats(-1, 1),
        interval=intervals,
        at_horizon=intervals,
        is_valid=st.booleans(),
        labels_missing=st.none() | st.integers(0, 10**9),
        eta_s=st.none() | st.floats(0, 1e12),
    ),
    guardrails=numbers.map(guards),
    srm_log_e=numbers,
    multi_arm_share=st.floats(0, 1),
    labelled=st.integers(0, 10**9),
    data_age_s=st.none() | st.floats(-1e9, 1e9),
    run_s=st.floats(0, 1e9),
    step=st.none() | st.integers(0, 3),
    step_run_s=st.floats(0, 1e9),
    step_units=st.integers(0, 10**9),
    canary_bp=st.integers(0, 10_000),
)
standings = st.builds(
    Standing,
    latched=st.none() | st.sampled_from(sorted(TERMINAL)),
    latched_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    last_look_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    is_broken=st.booleans(),
    is_manual=st.booleans(),
    is_carried_out=st.booleans(),
)
plans = st.builds(
    replace,
    st.just(PLAN),
    mode=st.sampled_from(Mode),
    inconclusive_action=st.sampled_from(InconclusiveAction),
    goal=st.builds(Goal, objective=st.sampled_from(Objective)),
)


def is_new(decision: Decision, state: State) -> bool:
    return decision.state is state and not decision.is_latched


@given(plans, anything, standings)
def test_every_reading_gives_a_decision_that_keeps_the_promises(
    plan: Plan, readings: Readings, standing: Standing
) -> None:
    decision = decide(plan, readings, standing)
    moves = is_new(decision, State.PROMOTE) or decision.state is State.ADVANCE

    assert decision.text
    assert not decision.is_automatic or decision.set_canary_bp is not None
    if moves:
        assert readings.srm_log_e < math.log(1000)
        assert not is_stale(plan, readings)
        assert standing == replace(standing, latched=None, is_broken=False, is_manual=False), (
            "a latch, a breaker or a person was passed over"
        )
        assert standing.last_look_at is None or readings.at >= standing.last_look_at
    if is_new(decision, State.PROMOTE):
        assert readings.run_s >= plan.min_duration_s
        assert readings.step == 3


@given(plans, anything, anything, standings)
def test_a_terminal_state_stays_but_for_a_guardrail(
    plan: Plan, first: Readings, later: Readings, standing: Standing
) -> None:
    decision = decide(plan, first, standing)
    stands = after(standing, decision, at=first.at)
    again = decide(plan, later, stands)

    is_shut = stands.is_broken and stands.latched is State.PROMOTE
    if is_shut:
        assert again.set_canary_bp in (None, 0), "a canary that broke got its share back"
    elif stands.latched is not None and not stands.is_manual:
        is_harm = again.state is State.ROLLBACK and again.reasons[0].startswith("guardrail:")
        assert again.state is stands.latched or is_harm
    if stands.latched is State.ROLLBACK and not stands.is_manual:
        assert again.state is State.ROLLBACK
