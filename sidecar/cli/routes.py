"""`signalops routes`: which routes are in force, and why a unit gets its arm."""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Url, connect
from sidecar.cli.output import (
    percent,
    say,
    shares_of,
    show_fields,
    show_json,
    show_table,
    time_of,
)

app = typer.Typer(no_args_is_help=True, help="Look at the routes in force.")


@app.command()
def show(*, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show groups, arms, shares, and each worker's generation."""
    found = connect(url).get("/v1/routes")
    if as_json:
        show_json(found)
        return
    say(
        f"generation {found['generation']} of {time_of(found['published_at'])}, "
        f"hash {found['hash'][:12]}"
    )
    if found["config_error"]:
        say(f"the YAML is not in force: {found['config_error']}")
    if found["publish_error"]:
        say(f"publishing fails: {found['publish_error']}")
    for warning in found["warnings"]:
        say(f"warning: {warning}")
    say()
    columns = ("group", "task", "arm", ">share", "deployments", "owner", "experiment")
    show_table(columns, [row for group in found["groups"] for row in _rows(group)])
    for group in found["groups"]:
        if group["yaml_waiting"]:
            waiting = shares_of(group["yaml_waiting"]["shares"])
            say(f"the YAML's shares of {group['name']} wait for its experiment: {waiting}")
    say()
    _show_workers(found["workers"])


@app.command()
def explain(
    *,
    group: Annotated[str, typer.Option(help="Group, or another name of it.")],
    unit: Annotated[str, typer.Option(help="Unit id, as the client sends it.")],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say which arm a unit gets, and why."""
    found = connect(url).get("/v1/routes/explain", group=group, unit=unit)
    if as_json:
        show_json(found)
        return
    say(f"{found['arm']}: {found['why']}")
    say()
    show_fields(
        {
            "group": found["group"],
            "unit": found["unit_id"],
            "arm": found["arm"],
            "share": percent(found["share"]),
            "deployments": found["deployments"],
            "experiment": found["experiment_id"],
            "owner": found["owner"],
            "epoch, stage": f"{found['epoch']}, {found['stage']}",
            "generation": found["generation"],
        }
    )


def _rows(group: dict[str, Any]) -> list[tuple[object, ...]]:
    experiment = group["experiment_id"]
    if group["paused"]:
        experiment = f"{experiment} (paused)"
    rows: list[tuple[object, ...]] = []
    for arm in group["arms"]:
        about = (group["name"], group["task"]) if not rows else (" ", " ")
        owned = (group["owner"], experiment) if not rows else (" ", " ")
        rows.append((*about, arm["name"], percent(arm["share"]), arm["deployments"], *owned))
    return rows


def _show_workers(workers: list[dict[str, Any]]) -> None:
    alive = [worker for worker in workers if worker["alive"]]
    if not alive:
        say("no proxy worker runs")
        return
    columns = ("worker", ">pid", ">generation", "current", ">finished", ">errors")
    show_table(
        columns,
        [
            (
                worker["writer"],
                worker["pid"],
                worker["generation"],
                worker["is_current"],
                worker["counts"]["finished"],
                worker["counts"]["errors"],
            )
            for worker in alive
        ],
    )
