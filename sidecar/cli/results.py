"""How are an experiment's results shown? The verdict first, then what it rests on."""

from typing import Any

from sidecar.cli.output import (
    dollars,
    number,
    ordered,
    percent,
    say,
    show_table,
    tell,
    time_of,
)
from sidecar.cli.verdict import show_verdict


def show_results(found: dict[str, Any]) -> None:
    """Print verdict, metrics, validity, what is still needed, and what the calls add up to."""
    tell(
        f"{found['experiment_id']} on {found['group']}: {found['status']}"
        f"{_ended(found)}, epoch {found['epoch']}, generation {found['generation']}"
    )
    if found["decision"] is not None:
        show_verdict(found)
    arms = found["arms"]
    say()
    show_table(("", *(f">{arm['arm']}" for arm in arms)), _rows(arms))
    if len(found["stages"]) > 1:
        say()
        show_table(
            ("stage", "=from", "=to", "arm", ">designed", ">seen", ">calls"), _stages(found)
        )
    checked = found["reconciliation"]
    say()
    tell(
        f"served {checked['served']:,}, journalled {checked['journalled']:,}, "
        f"stored {checked['stored']:,}, quarantined {checked['quarantined']:,}, "
        f"lost {checked['lost']:,}: {checked['explanation']}"
    )


def _ended(found: dict[str, Any]) -> str:
    held = f", {found['held_arm']} serves all" if found["held_arm"] else ""
    return f" ({found['outcome']}{held})" if found["outcome"] else ""


def _rows(arms: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Write each measure of every arm."""
    kinds = {
        "outcomes": "outcomes",
        "labels": "labels",
        "verdict_failures": "no verdict",
        "served_by": "served by",
    }
    rows = [
        _row("share designed", arms, lambda arm: percent(arm["share"]["designed"])),
        _row("share of units seen", arms, lambda arm: percent(arm["share"]["of_units"])),
        _row("share of calls seen", arms, lambda arm: percent(arm["share"]["of_calls"])),
        _row("calls", arms, lambda arm: number(arm["calls"])),
        _row("units", arms, lambda arm: number(arm["units"])),
    ]
    for name, title in kinds.items():
        rows.append(_row(title, arms, lambda arm, name=name: ordered(arm[name])))
    return [
        *rows,
        _row("latency p50/p95/p99 ms", arms, lambda arm: _percentiles(arm["latency_ms"])),
        _row("first token p50/p95/p99 ms", arms, lambda arm: _percentiles(arm["ttft_ms"])),
        _row("tokens in / out", arms, _tokens),
        _row("cost", arms, _cost),
    ]


def _row(title: str, arms: list[dict[str, Any]], show: Any) -> tuple[str, ...]:  # noqa: ANN401
    return (title, *(show(arm) for arm in arms))


def _percentiles(found: dict[str, float | None]) -> str:
    return " / ".join(number(found[name]) for name in ("p50", "p95", "p99"))


def _tokens(arm: dict[str, Any]) -> str:
    return f"{number(arm['prompt_tokens'])} / {number(arm['completion_tokens'])}"


def _cost(arm: dict[str, Any]) -> str:
    unknown = arm["calls_of_unknown_cost"]
    known = dollars(arm["cost_usd"])
    return f"{known} (unknown for {unknown:,} calls)" if unknown else known


def _stages(found: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for stage in found["stages"]:
        span = (time_of(stage["started_at"]), time_of(stage["ended_at"]))
        for arm in stage["arms"]:
            share = arm["share"]
            shown = (arm["arm"], percent(share["designed"]), percent(share["of_calls"]))
            rows.append((stage["stage"], *span, *shown, number(arm["calls"])))
    return rows
