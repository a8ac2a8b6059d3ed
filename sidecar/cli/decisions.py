"""`signalops experiment promote|rollback|undo|set-plan|decisions|looks`: decide, look back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Reason, Url, connect, part
from sidecar.cli.experiments import PATH, ExperimentId, answer
from sidecar.cli.output import number, percent, shares_of, show_json, show_table, time_of
from sidecar.cli.plans import read_plan

Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
PlanFile = Annotated[
    Path, typer.Argument(help="YAML or JSON; what it leaves out has its default.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of experiments."""
    for command in (promote, rollback, undo, set_plan, decisions, looks):
        app.command()(command)


def promote(
    experiment_id: ExperimentId,
    reason: Why,
    arm: Annotated[str | None, typer.Option(help="Which of several canaries.")] = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Give a canary the traffic; undo takes it back."""
    body = {"reason": reason, "arm": arm}
    answer(connect(url).post(f"{PATH}/{part(experiment_id)}/promote", body), as_json)


def rollback(
    experiment_id: ExperimentId, reason: Why, *, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Take the canaries out of traffic at once; undo takes it back."""
    body = {"reason": reason}
    answer(connect(url).post(f"{PATH}/{part(experiment_id)}/rollback", body), as_json)


def undo(
    experiment_id: ExperimentId, reason: Why, *, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Take back the latest decision that changed the shares, whoever took it."""
    body = {"reason": reason}
    answer(connect(url).post(f"{PATH}/{part(experiment_id)}/undo", body), as_json)


def set_plan(
    experiment_id: ExperimentId,
    plan: PlanFile,
    reason: Reason = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Change the plan; a started experiment begins a new epoch."""
    body = {"plan": read_plan(plan), "reason": reason}
    answer(connect(url).put(f"{PATH}/{part(experiment_id)}/plan", body), as_json)


def decisions(
    experiment_id: ExperimentId, *, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """List what was decided, by whom and why, newest first."""
    found = connect(url).get(f"{PATH}/{part(experiment_id)}/decisions")["items"]
    if as_json:
        show_json(found)
        return
    columns = ("=when", ">epoch", ">look", "state", "done", "by", ">generation", "why")
    show_table(columns, [_decision(item) for item in found])


def looks(
    experiment_id: ExperimentId,
    epoch: Annotated[int | None, typer.Option(min=1, help="An earlier epoch.")] = None,
    limit: Annotated[int, typer.Option(min=2, help="At most so many, evenly thinned.")] = 30,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show how estimate, interval and share went over time."""
    path = f"{PATH}/{part(experiment_id)}/looks"
    found = connect(url).get(path, epoch=epoch, limit=limit)
    if as_json:
        show_json(found)
        return
    columns = ("=when", ">look", ">share", ">labels", ">estimate", ">interval", "state")
    show_table(columns, [_look(item) for item in found])


def _decision(item: dict[str, Any]) -> tuple[object, ...]:
    shares = item["action"].get("shares")
    undone = " (undone)" if item["undone_by"] else ""
    return (
        time_of(item["at"]),
        item["epoch"],
        item["look"] or "-",
        item["state"] + undone,
        shares_of(shares) if shares else "advice",
        item["actor"],
        item["generation"],
        item["numbers"].get("why") or ", ".join(item["reasons"]),
    )


def _look(item: dict[str, Any]) -> tuple[object, ...]:
    numbers = item["numbers"]
    interval = numbers["interval"]
    return (
        time_of(item["at"]),
        item["look"],
        percent(numbers["share"]),
        number(numbers["labelled"]),
        percent(numbers["estimate"]),
        "-" if interval is None else " to ".join(percent(end) for end in interval),
        numbers["state"],
    )
