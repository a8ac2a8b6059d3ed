"""How does one say a decision in a sentence that a person understands?"""

from sidecar.core.plan import Goal, Kind, Objective, Plan
from sidecar.core.readings import Readings, State
from sidecar.core.stats.sequential import Interval

_LEADS = {
    State.PROMOTE: "Promote the canary.",
    State.ROLLBACK: "Roll the canary back.",
    State.ADVANCE: "The canary may take its next step.",
    State.KEEP_COLLECTING: "Not decided yet.",
    State.INCONCLUSIVE: "The horizon passed without a decision.",
    State.INVALID_SRM: (
        "Units are not split as designed, so no comparison can be trusted and nothing is "
        "promoted."
    ),
    State.HOLD: "On hold.",
}
_CAUSES = {
    "latched": "This was decided at an earlier look.",
    "manual": "A person undid a decision, so the controller only watches.",
    "circuit_breaker": "The canary failed several times in a row and gets no traffic.",
    "clock_set_back": "The clock went backwards.",
    "stale": "No new calls have been stored for too long.",
    "units_in_both_arms": "Too many units were seen in both arms.",
    "insufficient_data": "There are too few labels to compare.",
    "unequal_label_return": "Labels come back unequally often from the two arms.",
    "off_ramp": "The canary's share is none of the ramp's.",
    "ramp_incomplete": "The ramp is not complete.",
    "min_duration": "The minimum duration is not reached.",
    "holdback": "A small share stays with the primary for comparison.",
    "holdback_over": "The time of the hold-back is over.",
    "goal_undecided": "",  # the sentence about the goal says it
}
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def sentence(plan: Plan, readings: Readings, state: State, reasons: tuple[str, ...]) -> str:
    """Say what was concluded and why.

    Args:
        reasons: As in the decision.
    """
    harmed = [reason.removeprefix("guardrail:") for reason in reasons if ":" in reason]
    causes = [_CAUSES[reason] for reason in reasons if _CAUSES.get(reason)]
    parts = [_LEADS[state], *causes]
    if harmed:
        parts.append(f"Worse than its limit allows: {', '.join(harmed)}.")
    parts.append(_goal(plan.goal, readings, is_last="horizon" in reasons))
    if state is State.PROMOTE and not harmed:
        parts.append("No guardrail breached.")
    if state is State.KEEP_COLLECTING:
        parts.append(_wait(readings))
    return " ".join(filter(None, parts))


def amount(goal: Goal, value: float, *, is_signed: bool = True) -> str:
    """Write a difference of the goal: percentage points, or the metric's own unit."""
    sign = "+" if is_signed else ""
    if goal.kind is Kind.BOOLEAN:
        return f"{100 * value:{sign}.1f}"
    return f"{value:{sign}.3g}"


def duration(seconds: float) -> str:
    """Write a time to come, roughly."""
    if seconds < _HOUR_S:
        return f"about {max(round(seconds / _MINUTE_S), 1)} min"
    if seconds < 2 * _DAY_S:
        return f"about {round(seconds / _HOUR_S)} h"
    return f"about {round(seconds / _DAY_S)} days"


def _goal(goal: Goal, readings: Readings, *, is_last: bool) -> str:
    reading = readings.goal
    interval = reading.at_horizon if is_last else reading.interval
    if reading.estimate is None or interval is None:
        return ""
    name = "interval at the horizon" if is_last else "anytime interval"
    valid = "valid for this one look" if is_last else "valid at every look"
    unit = " pp" if goal.kind is Kind.BOOLEAN else ""
    return (
        f"{goal.metric.capitalize()} differs by {amount(goal, reading.estimate)}{unit} "
        f"({name} {amount(goal, interval.low)} to {amount(goal, interval.high)}{unit}, "
        f"{valid}); {_against(goal, interval)}."
    )


def _against(goal: Goal, interval: Interval) -> str:
    """Say what the interval tells about the threshold."""
    if goal.objective is Objective.NON_INFERIORITY:
        unit = " pp" if goal.kind is Kind.BOOLEAN else ""
        what = f"a loss of more than {amount(goal, goal.effect, is_signed=False)}{unit}"
    else:
        what = "a difference of 0 or less"
    if interval.low > goal.threshold:
        return f"{what} is ruled out"
    return f"{what} is shown" if interval.high < goal.threshold else f"{what} is still possible"


def _wait(readings: Readings) -> str:
    missing, eta_s = readings.goal.labels_missing, readings.goal.eta_s
    if missing is None or missing <= 0:
        return ""
    when = "none is coming at present" if eta_s is None else duration(eta_s)
    return f"About {missing} more labels are needed ({when})."
