"""A decision is said in sentences that a person understands."""

from dataclasses import replace

import pytest

from sidecar.core.decision import decide
from sidecar.core.plan import Goal, Kind, Objective, Plan
from sidecar.core.readings import GoalReading, Readings, Standing, State
from sidecar.core.stats.sequential import Interval
from sidecar.core.wording import duration
from tests.looks import BETTER, ENDED, FIXED_BETTER, OPEN, PLAN, WORSE, goal, guards, ready

SUPERIOR = replace(PLAN, goal=Goal(objective=Objective.SUPERIORITY, effect=0.05))
SCORE = replace(PLAN, goal=Goal("score", Kind.FLOAT, effect=0.5))


@pytest.mark.parametrize(
    ("plan", "readings", "said"),
    [
        pytest.param(
            PLAN,
            ready(goal=goal(BETTER)),
            "Promote the canary. Agreement differs by +3.5 pp (anytime interval -2.0 to +9.0 "
            "pp, valid at every look); a loss of more than 3.0 pp is ruled out. "
            "No guardrail breached.",
            id="not inferior",
        ),
        pytest.param(
            PLAN,
            ready(goal=goal(WORSE)),
            "Roll the canary back. Agreement differs by -12.0 pp (anytime interval -20.0 to "
            "-4.0 pp, valid at every look); a loss of more than 3.0 pp is shown.",
            id="inferior",
        ),
        pytest.param(
            PLAN,
            ready(goal=GoalReading(), guardrails=guards(9)),
            "Roll the canary back. Worse than its limit allows: bad_rate.",
            id="harm before any label",
        ),
        pytest.param(
            PLAN,
            ready(goal=replace(goal(OPEN), labels_missing=420, eta_s=7_300)),
            "Not decided yet. Agreement differs by +0.0 pp (anytime interval -5.0 to +5.0 pp, "
            "valid at every look); a loss of more than 3.0 pp is still possible. "
            "About 420 more labels are needed (about 2 h).",
            id="undecided",
        ),
        pytest.param(
            PLAN,
            ready(goal=GoalReading(labels_missing=90)),
            "Not decided yet. There are too few labels to compare. "
            "About 90 more labels are needed (none is coming at present).",
            id="no labels",
        ),
        pytest.param(
            PLAN,
            replace(ENDED, goal=FIXED_BETTER),
            "Promote the canary. Agreement differs by +0.0 pp (interval at the horizon -2.0 to "
            "+2.0 pp, valid for this one look); a loss of more than 3.0 pp is ruled out. "
            "No guardrail breached.",
            id="decided by the look at the horizon",
        ),
        pytest.param(
            SUPERIOR,
            ready(goal=goal(Interval(0.01, 0.05))),
            "Promote the canary. Agreement differs by +3.0 pp (anytime interval +1.0 to +5.0 "
            "pp, valid at every look); a difference of 0 or less is ruled out. "
            "No guardrail breached.",
            id="superior",
        ),
        pytest.param(
            SCORE,
            ready(goal=goal(Interval(-0.25, 1.25))),
            "Promote the canary. Score differs by +0.5 (anytime interval -0.25 to +1.25, "
            "valid at every look); a loss of more than 0.5 is ruled out. "
            "No guardrail breached.",
            id="a number",
        ),
    ],
)
def test_a_decision_is_said_with_its_numbers(plan: Plan, readings: Readings, said: str) -> None:
    assert decide(plan, readings, Standing()).text == said


@pytest.mark.parametrize(
    ("readings", "standing", "said"),
    [
        (ready(data_age_s=700), Standing(), "On hold. No new calls have been stored"),
        (ready(canary_bp=0), Standing(is_broken=True), "On hold. The canary failed several"),
        (ready(srm_log_e=8), Standing(), "Units are not split as designed, so no"),
        (
            ready(canary_bp=9_800),
            Standing(State.PROMOTE),
            "Promote the canary. This was decided at an",
        ),
    ],
)
def test_a_doubt_is_said_with_its_cause(
    readings: Readings, standing: Standing, said: str
) -> None:
    assert decide(PLAN, readings, standing).text.startswith(said)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "about 1 min"),
        (90, "about 2 min"),
        (3_600, "about 1 h"),
        (100_000, "about 28 h"),
        (864_000, "about 10 days"),
    ],
)
def test_a_time_to_come_is_said_roughly(seconds: float, said: str) -> None:
    assert duration(seconds) == said
