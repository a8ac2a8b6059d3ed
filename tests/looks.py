"""Looks at an experiment, for the tests of what is decided from them."""

from dataclasses import replace
from datetime import UTC, datetime

from sidecar.core.plan import DAY_S, Mode, Plan
from sidecar.core.readings import GoalReading, GuardrailReading, Readings
from sidecar.core.stats.sequential import Interval

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAN = Plan(mode=Mode.AUTO)
BETTER, WORSE, OPEN = Interval(-0.02, 0.09), Interval(-0.2, -0.04), Interval(-0.05, 0.05)


def goal(interval: Interval | None, **more: object) -> GoalReading:
    estimate = None if interval is None else (interval.low + interval.high) / 2
    return GoalReading(estimate=estimate, interval=interval, at_horizon=interval, **more)


def guards(log_e: float) -> tuple[GuardrailReading, ...]:
    return (GuardrailReading("bad_rate", log_e), GuardrailReading("disagreements", -1.0))


# All that a promotion needs: each row below takes one thing away.
READY = Readings(
    at=NOON,
    goal=goal(BETTER),
    guardrails=guards(-3.0),
    srm_log_e=-8.0,
    multi_arm_share=0.0,
    labelled=2_000,
    data_age_s=2.0,
    run_s=2 * DAY_S,
    step=3,
    step_run_s=DAY_S,
    step_units=5_000,
    canary_bp=5_000,
)
CLIMBING = replace(READY, step=1, canary_bp=500, goal=goal(None))
ENDED = replace(READY, run_s=14 * DAY_S, goal=goal(OPEN))
FIXED_BETTER = GoalReading(estimate=0.0, interval=OPEN, at_horizon=Interval(-0.02, 0.02))
FIXED_WORSE = GoalReading(estimate=-0.1, interval=OPEN, at_horizon=Interval(-0.2, -0.04))


def ready(**changes: object) -> Readings:
    return replace(READY, **changes)


def climbing(**changes: object) -> Readings:
    return replace(CLIMBING, **changes)
