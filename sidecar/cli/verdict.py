"""How is a verdict shown? One sentence, metrics with intervals, validity, what is needed."""

from collections.abc import Sequence
from typing import Any

from sidecar.cli.output import NOTHING, number, percent, say, show_fields, show_table, tell

_WORDS = {
    "promote": "PROMOTE",
    "rollback": "ROLL BACK",
    "advance": "ADVANCE",
    "keep_collecting": "KEEP COLLECTING",
    "inconclusive": "INCONCLUSIVE",
    "invalid_srm": "INVALID",
    "hold": "HOLD",
}
_HOUR_S = 3600


def show_verdict(found: dict[str, Any]) -> None:
    """Print what the results conclude."""
    several = len(found["decisions"]) > 1
    for decision in found["decisions"]:
        arm = f"{decision['arm']}: " if several else ""
        tell(f"{arm}{_WORDS[decision['state']]}. {decision['text']}")
    say()
    show_table(
        ("metric", ">primary", ">canary", ">difference", ">interval", ">limit", "verdict"),
        [row for metric in found["metrics"] if (row := _metric(metric, several))],
    )
    say()
    needed = _needed(found) if found["status"] != "completed" else {}
    show_fields({**_validity(found), **needed, **_plan(found)})


def _metric(metric: dict[str, Any], several: bool) -> tuple[str, ...] | None:  # noqa: FBT001
    """Write a metric as a row; None for one that is told elsewhere."""
    name = f"{metric['name']} ({metric['arm']})" if several else metric["name"]
    if metric["role"] == "goal":
        return (
            name,
            percent(metric["primary_unstratified"]),
            percent(metric["canary_unstratified"]),
            _points(metric["estimate"]),
            _interval(metric["interval"], _points),
            _points(metric["margin"]),
            _goal_verdict(metric),
        )
    if metric["role"] == "guardrail":
        is_ratio = metric["kind"] == "risk_ratio"
        write = _ratio if is_ratio else percent
        events = metric["events"]
        digits = 0 if is_ratio else 6
        return (
            name,
            number(events["primary"], digits),
            number(events["canary"], digits),
            write(metric["estimate"]),
            _interval(metric["interval"], write),
            write(metric["max_ratio"] if is_ratio else metric["margin"]),
            metric["verdict"],
        )
    return None


def _goal_verdict(metric: dict[str, Any]) -> str:
    gate = metric["gate"]
    if metric["verdict"] != "insufficient_data":
        return str(metric["verdict"])
    have = gate["units"] if gate["expected_minority"] is None else gate["expected_minority"]
    return f"too few labels ({number(have)} of {number(gate['required'])})"


def _validity(found: dict[str, Any]) -> dict[str, object]:
    validity = found["validity"]
    srm = validity["srm"]
    returned = [
        f"{percent(each['returned']['primary'])} / {percent(each['returned']['canary'])}"
        + ("" if each["is_valid"] else ", unequal: not decided on")
        for each in validity["audit_return"]
    ]
    return {
        "split as designed": f"{srm['status']} (log e {srm['log_e']:.1f}, "
        f"limit {srm['threshold_log_e']:.1f})",
        "labels returned": returned,
        "units in two arms": validity["multi_arm_units"],
        "data": "stale" if validity["stale"] else "fresh",
    }


def _needed(found: dict[str, Any]) -> dict[str, object]:
    stage = found["stage"]
    shown: dict[str, object] = {}
    if stage is not None:
        step = NOTHING if stage["index"] is None else f"{stage['index']} of {stage['of']}"
        waits = [
            words
            for name, words in (("min_time_met", "its time"), ("min_units_met", "its units"))
            if stage[name] is False
        ]
        shown["ramp step"] = f"{step}, canary {percent(stage['canary_share'])}" + (
            f", waits for {' and '.join(waits)}" if waits else ""
        )
    for plan in found["planning"]:
        missing, eta_s = plan["labels_missing"], plan["eta_s"]
        if missing:
            when = "" if eta_s is None else f", {eta_s / _HOUR_S:,.1f} h at the present rate"
            shown["labels still needed"] = f"about {missing:,}{when}"
    return shown


def _plan(found: dict[str, Any]) -> dict[str, object]:
    method = found["method"]
    return {
        "mode, goal": f"{found['mode']}, {found['goal_type']}",
        "chance to be misled": f"promote {percent(method['false_promote_bound'])}, "
        f"roll back {percent(method['false_rollback_bound'])}, over all looks",
    }


def _points(value: float | None) -> str:
    """Write a difference in the metric's own unit, times 100."""
    return NOTHING if value is None else f"{value * 100:+.1f}"


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}x"


def _interval(found: Sequence[float | None] | None, write: Any) -> str:  # noqa: ANN401
    if found is None:
        return NOTHING
    low, high = found
    first = "below" if low is None else write(low)
    return f"{first} to {'above' if high is None else write(high)}"
