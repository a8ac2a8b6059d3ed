"""`signalops experiment`: plan one, run it, look at it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, MISTYPED, Json, Reason, Url, connect, part, stop
from sidecar.cli.output import (
    percent,
    say,
    shares_of,
    show_fields,
    show_json,
    show_table,
    time_of,
)
from sidecar.cli.plans import read_plan
from sidecar.cli.results import show_results

app = typer.Typer(no_args_is_help=True, help="Plan, run and look at experiments.")

PATH = "/v1/experiments"
STEPS = {
    "start": "Let a planned experiment take its group over.",
    "pause": "Let the primary serve all for a while.",
    "resume": "Go on after a pause.",
    "stop": "End an experiment, and hand its group back to the YAML.",
}

ExperimentId = Annotated[str, typer.Argument(help="As 'signalops experiment list' shows it.")]


@app.command()
def create(  # noqa: PLR0913  (each is an option of the command)
    *,
    primary: Annotated[
        list[str] | None,
        typer.Option(help="Deployment id or model name; a provider's ft: id will do."),
    ] = None,
    canary: Annotated[
        list[str] | None, typer.Option(help="Deployment id or model name to compare with.")
    ] = None,
    canary_pct: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="The canary's share: 0.1 is a tenth. Left out: the first step of the ramp.",
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Group to experiment on; else the primary's own.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Only source of units: header, metadata, user, session.")
    ] = None,
    hypothesis: Annotated[str | None, typer.Option(help="What you expect, and why.")] = None,
    plan: Annotated[
        Path | None, typer.Option(help="YAML or JSON: what decides, and how.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="advise, auto_rollback or auto; else the plan's.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Whose experiment it is.")] = None,
    reason: Reason = None,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Let it take its group over at once.")
    ] = True,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Plan an experiment, and start it.

    Without --primary and --canary, the arms are those the YAML gives the group.
    """
    if not primary and group is None:
        msg = "name the --primary, or the --group to experiment on"
        raise stop(msg, MISTYPED)
    named = {"primary": primary, "canary": canary}
    arms = {arm: names for arm, names in named.items() if names}
    document = ({} if plan is None else read_plan(plan)) | (
        {} if mode is None else {"mode": mode}
    )
    body = {
        "group": group,
        "shares": None
        if canary_pct is None
        else {"primary": round(1 - canary_pct, 6), "canary": canary_pct},
        "arms": arms or None,
        "unit": unit,
        "hypothesis": hypothesis,
        "plan": document or None,
        "project_id": project,
        "reason": reason,
    }
    api = connect(url)
    made = api.post(PATH, body)
    if start:
        made = api.post(f"{PATH}/{part(made['id'])}/start", {"reason": reason})
    answer(made, as_json)


@app.command("list")
def list_all(
    *,
    group: Annotated[str | None, typer.Option(help="Only of this group.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only draft, active, paused or completed ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List experiments, newest first."""
    found = connect(url).pages(PATH, limit, group=group, status=status)
    if as_json:
        show_json(found)
        return
    columns = ("=id", "group", "status", "shares", "project", "=created")
    show_table(columns, [_row(item) for item in found])


@app.command()
def show(experiment_id: ExperimentId, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show an experiment, its stages and what was done with it."""
    api = connect(url)
    path = f"{PATH}/{part(experiment_id)}"
    found, done = api.get(path), api.get(f"{path}/events")["items"]
    if as_json:
        show_json({**found, "events": done})
        return
    show_fields(_fields(found))
    say()
    show_table(
        ("epoch", "stage", "shares", "=from", "=to"),
        [(s["epoch"], s["stage"], shares_of(s["shares"]), *_span(s)) for s in found["stages"]],
    )
    say()
    show_table(
        ("=when", "what", "who", "why"),
        [(time_of(e["at"]), e["action"], e["actor"], e["reason"]) for e in done],
    )


def _add_step(action: str, explained: str) -> None:
    """Add a command that takes one step in an experiment's life."""

    def step(
        experiment_id: ExperimentId,
        reason: Reason = None,
        *,
        url: Url = DEFAULT_URL,
        as_json: Json = False,
    ) -> None:
        path = f"{PATH}/{part(experiment_id)}/{action}"
        answer(connect(url).post(path, {"reason": reason}), as_json)

    app.command(action, help=explained)(step)


for _action, _explained in STEPS.items():
    _add_step(_action, _explained)


@app.command()
def set_shares(
    experiment_id: ExperimentId,
    shares: Annotated[list[str], typer.Argument(help="ARM=SHARE, as canary=0.2 primary=0.8.")],
    reason: Reason = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Change the shares; raising a canary's moves units only into it."""
    body = {"shares": dict(_share(text) for text in shares), "reason": reason}
    answer(connect(url).put(f"{PATH}/{part(experiment_id)}/shares", body), as_json)


@app.command()
def results(
    experiment_id: ExperimentId,
    epoch: Annotated[int | None, typer.Option(min=1, help="An earlier epoch.")] = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show the verdict and why, metrics with intervals, validity, and what is still needed."""
    found = connect(url).get(f"{PATH}/{part(experiment_id)}/results", epoch=epoch)
    if as_json:
        show_json(found)
    else:
        show_results(found)


def answer(experiment: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001  (as typed)
    """Print an experiment that was changed."""
    if as_json:
        show_json(experiment)
        return
    outcome = f" ({experiment['outcome']})" if experiment["outcome"] else ""
    say(
        f"{experiment['id']}  {experiment['status']}{outcome} on {experiment['group']}: "
        f"{shares_of(experiment['shares'])}"
    )


def _share(text: str) -> tuple[str, float]:
    """Read `arm=share`."""
    arm, separator, share = text.partition("=")
    try:
        if separator and arm:
            return arm, float(share)
    except ValueError:
        pass
    msg = f"shares are written as canary=0.2, found {text!r}"
    raise stop(msg, MISTYPED)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["id"],
        item["group"],
        item["status"],
        shares_of(item["shares"]),
        item["project_id"],
        time_of(item["created_at"]),
    )


def _span(item: dict[str, Any]) -> tuple[str, str]:
    return time_of(item["started_at"]), time_of(item["ended_at"])


def _fields(found: dict[str, Any]) -> dict[str, object]:
    begun, ended = _span(found)
    return {
        "id": found["id"],
        "group": found["group"],
        "project": found["project_id"],
        "owner": found["owner"],
        "status": found["status"],
        "outcome": found["outcome"],
        "shares": shares_of(found["shares"]),
        **{f"arm {arm}": ids for arm, ids in found["arms"].items()},
        "canaries": percent(1 - found["shares"].get("primary", 0)),
        "mode": None if found["plan"] is None else found["plan"]["mode"],
        "plan": found["plan_hash"],
        "held by": found["held_arm"],
        "unit": found["unit"] or "header, metadata, user, session, else the call",
        "hypothesis": found["hypothesis"],
        "epoch, stage": f"{found['epoch']}, {found['stage']}",
        "started": begun,
        "ended": ended,
    }
