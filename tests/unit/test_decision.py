"""The rule: harm acts first, doubt stops, and only then may something move forward."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sidecar.core.decision import decide, guardrail_threshold, is_stale
from sidecar.core.plan import DAY_S, Goal, Holdback, Horizon, InconclusiveAction, Objective
from sidecar.core.readings import Readings, Standing, State
from sidecar.core.stats.sequential import Interval
from tests.looks import (
    BETTER,
    CLIMBING,
    ENDED,
    FIXED_BETTER,
    FIXED_WORSE,
    NOON,
    OPEN,
    PLAN,
    READY,
    WORSE,
    climbing,
    goal,
    guards,
    ready,
)

FRESH = Standing()


def row(name: str, readings: Readings, outcome: str, standing: Standing = FRESH) -> Any:
    """Give a case: its outcome is a state, one of the reasons, and the share to set."""
    return pytest.param(readings, standing, outcome, id=name)


@pytest.mark.parametrize(
    ("readings", "standing", "outcome"),
    [
        row("all met", ready(), "promote goal_non_inferior 9800"),
        row("bad split", ready(srm_log_e=7), "invalid_srm invalid_srm None"),
        row(
            "a bad split forbids even the goal's rollback",
            ready(srm_log_e=math.inf, goal=goal(WORSE)),
            "invalid_srm invalid_srm None",
        ),
        row(
            "a guardrail breaks though the split is bad",
            ready(srm_log_e=7, guardrails=guards(5)),
            "rollback guardrail:bad_rate 0",
        ),
        row("harm", ready(guardrails=guards(5)), "rollback guardrail:bad_rate 0"),
        row(
            "harm counts on stale data and under a clock set back",
            ready(guardrails=guards(math.inf), data_age_s=9000000000.0, at=NOON),
            "rollback guardrail:bad_rate 0",
            Standing(last_look_at=NOON + timedelta(days=1)),
        ),
        row("goal failed", ready(goal=goal(WORSE)), "rollback goal 0"),
        row(
            "goal failed on the way up",
            climbing(goal=goal(WORSE), data_age_s=9000000000.0),
            "rollback goal 0",
        ),
        row("stale", ready(data_age_s=601), "hold stale None"),
        row("stale on the ramp", climbing(data_age_s=601), "hold stale None"),
        row("calls of tomorrow", ready(data_age_s=-5), "hold clock_set_back None"),
        row(
            "a look of yesterday",
            ready(),
            "hold clock_set_back None",
            Standing(last_look_at=NOON + timedelta(seconds=1)),
        ),
        row("mixed", ready(multi_arm_share=0.02), "hold units_in_both_arms None"),
        row(
            "breaker", ready(canary_bp=0), "hold circuit_breaker None", Standing(is_broken=True)
        ),
        row("by hand", ready(), "hold manual None", Standing(is_manual=True)),
        row(
            "harm is an end though the breaker took the share already",
            ready(canary_bp=0, guardrails=guards(5)),
            "rollback guardrail:bad_rate 0",
            Standing(is_broken=True),
        ),
        row(
            "an inconclusive end that a crash kept from being applied is applied",
            ready(),
            "inconclusive latched 0",
            Standing(State.INCONCLUSIVE),
        ),
        row("next step", CLIMBING, "advance min_time_met 2500"),
        row(
            "too few units for the next step",
            climbing(step_units=99),
            "keep_collecting insufficient_data None",
        ),
        row(
            "too little time for the next step",
            climbing(step_run_s=1799),
            "keep_collecting insufficient_data None",
        ),
        row(
            "no promotion before the last step",
            climbing(goal=goal(BETTER), step_run_s=0),
            "keep_collecting ramp_incomplete None",
        ),
        row("off the ramp", ready(step=None), "keep_collecting off_ramp None"),
        row(
            "no promotion before the minimum duration",
            ready(run_s=DAY_S - 1),
            "keep_collecting min_duration None",
        ),
        row(
            "the gate is closed",
            ready(goal=goal(None)),
            "keep_collecting insufficient_data None",
        ),
        row("both are possible", ready(goal=goal(OPEN)), "keep_collecting goal_undecided None"),
        row(
            "a selected sample promotes nothing",
            ready(goal=goal(BETTER, is_valid=False)),
            "keep_collecting unequal_label_return None",
        ),
        row(
            "a selected sample rolls nothing back",
            ready(goal=goal(WORSE, is_valid=False)),
            "keep_collecting unequal_label_return None",
        ),
        row("time is over", ENDED, "inconclusive horizon 0"),
        row(
            "the fixed look promotes",
            replace(ENDED, goal=FIXED_BETTER),
            "promote goal_non_inferior 9800",
        ),
        row("the fixed look rolls back", replace(ENDED, goal=FIXED_WORSE), "rollback goal 0"),
        row(
            "the fixed look is not taken early",
            replace(READY, goal=FIXED_BETTER),
            "keep_collecting goal_undecided None",
        ),
        row(
            "the horizon ends a ramp that is not complete",
            replace(ENDED, goal=FIXED_BETTER, step=2, canary_bp=2500),
            "inconclusive horizon 0",
        ),
        row("stale at end", replace(ENDED, data_age_s=601), "hold stale None"),
        row("stays", ready(canary_bp=0), "rollback latched None", Standing(State.ROLLBACK)),
        row(
            "a rollback that a crash kept from being applied is applied",
            ready(),
            "rollback latched 0",
            Standing(State.ROLLBACK),
        ),
        row(
            "a promotion stays",
            ready(canary_bp=9800, goal=goal(WORSE)),
            "promote latched None",
            Standing(State.PROMOTE, NOON),
        ),
        row(
            "the hold-back ends",
            ready(canary_bp=9800, at=NOON + timedelta(hours=24)),
            "promote latched 10000",
            Standing(State.PROMOTE, NOON, is_carried_out=True),
        ),
        row(
            "a promotion that was only advised has no second half",
            ready(canary_bp=9800, at=NOON + timedelta(hours=24)),
            "promote latched None",
            Standing(State.PROMOTE, NOON),
        ),
        row(
            "a promoted canary that broke since is not given its share back",
            ready(canary_bp=0),
            "hold circuit_breaker None",
            Standing(State.PROMOTE, NOON, is_broken=True, is_carried_out=True),
        ),
        row(
            "all of the traffic stays",
            ready(canary_bp=10000),
            "promote latched None",
            Standing(State.PROMOTE, NOON),
        ),
        row(
            "a promoted canary that does harm is rolled back",
            ready(canary_bp=9800, guardrails=guards(5)),
            "rollback guardrail:bad_rate 0",
            Standing(State.PROMOTE, NOON),
        ),
        row(
            "with nothing to compare with, a promotion is final",
            ready(canary_bp=10000, guardrails=guards(5)),
            "promote latched None",
            Standing(State.PROMOTE, NOON),
        ),
        row(
            "a guardrail is armed under a bad split",
            ready(guardrails=guards(5)),
            "rollback guardrail:bad_rate 0",
            Standing(State.INVALID_SRM),
        ),
        row("bad for good", ready(), "invalid_srm latched None", Standing(State.INVALID_SRM)),
        row(
            "an end stays",
            ready(canary_bp=0),
            "inconclusive latched None",
            Standing(State.INCONCLUSIVE),
        ),
    ],
)
def test_the_rule(readings: Readings, standing: Standing, outcome: str) -> None:
    decision = decide(PLAN, readings, standing)
    state, reason, share = outcome.split()

    assert (decision.state, str(decision.set_canary_bp)) == (state, share)
    assert reason in decision.reasons
    assert decision.is_latched == ("latched" in decision.reasons)
    assert decision.text.endswith(".")


def test_superiority_needs_a_lower_bound_above_zero() -> None:
    plan = replace(PLAN, goal=Goal(objective=Objective.SUPERIORITY, effect=0.05))

    assert decide(plan, ready(), Standing()).state is State.KEEP_COLLECTING
    above = decide(plan, ready(goal=goal(Interval(0.001, 0.1))), Standing())
    assert (above.state, above.reasons[0]) == (State.PROMOTE, "goal_superior")
    assert (
        decide(plan, ready(goal=goal(Interval(-0.1, -0.001))), Standing()).state == "rollback"
    )


def test_labels_too_can_be_the_horizon() -> None:
    plan = replace(PLAN, horizon=Horizon(None, 2_000))

    assert decide(plan, ready(goal=goal(OPEN)), Standing()).state is State.INCONCLUSIVE
    assert (
        decide(plan, ready(goal=goal(OPEN), labelled=1_999), Standing()).state != "inconclusive"
    )


def test_an_inconclusive_end_can_be_left_to_a_person() -> None:
    plan = replace(PLAN, inconclusive_action=InconclusiveAction.MANUAL)

    decision = decide(plan, ENDED, Standing())
    assert (decision.state, decision.action) == (State.INCONCLUSIVE, "none")


def test_without_a_holdback_a_promotion_is_all_of_the_traffic() -> None:
    assert decide(replace(PLAN, holdback=Holdback(0)), ready(), Standing()).action == (
        "set_share:1.0"
    )


def test_a_guardrails_threshold_is_shared_by_guardrails_and_canaries() -> None:
    assert guardrail_threshold(PLAN) == pytest.approx(math.log(2 / 0.05))
    assert guardrail_threshold(replace(PLAN, canaries=("a", "b"))) == pytest.approx(
        math.log(4 / 0.05)
    )


def test_before_the_first_call_data_are_stale_once_the_grace_has_passed() -> None:
    assert not is_stale(PLAN, ready(data_age_s=None, run_s=600))
    assert is_stale(PLAN, ready(data_age_s=None, run_s=601))
