"""`signalops call`: what was asked, who answered, and what came of it."""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Url, connect, part
from sidecar.cli.output import (
    dollars,
    number,
    percent,
    say,
    show_fields,
    show_json,
    show_table,
    time_of,
)

app = typer.Typer(no_args_is_help=True, help="Look at recorded calls.")

PATH = "/v1/calls"


@app.command("list")
def list_all(  # noqa: PLR0913  (each is an option of the command)
    *,
    group: Annotated[str | None, typer.Option(help="Only of this group.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only of this experiment.")] = None,
    arm: Annotated[str | None, typer.Option(help="Only assigned to this arm.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="Only served, failed_over, diverted, failed or incomplete ones."),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List calls, newest first."""
    found = connect(url).pages(
        PATH,
        limit,
        group=group,
        experiment_id=experiment,
        arm=arm,
        outcome=outcome,
        project_id=project,
    )
    if as_json:
        show_json(found)
        return
    columns = ("=call", "=when", "group", "arm", "outcome", "verdict", ">ms")
    show_table(columns, [_row(call) for call in found])


@app.command()
def show(
    call_id: Annotated[str, typer.Argument(help="As the header x-signalops-call-id has it.")],
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show a call with its exact request and its answer."""
    found = connect(url).get(f"{PATH}/{part(call_id)}")
    if as_json:
        show_json(found)
        return
    show_fields(_fields(found))
    say()
    say("request")
    show_json(found["request"])
    say("answer")
    show_json(found["answer"])


def _verdict(call: dict[str, Any]) -> str | None:
    found: str | None = call["verdict_label"] or call["verdict_failure"]
    return found


def _row(call: dict[str, Any]) -> tuple[object, ...]:
    return (
        call["call_id"],
        time_of(call["started_at"]),
        call["group"],
        call["assigned_arm"],
        call["outcome"],
        _verdict(call),
        number(call["latency_ms"]),
    )


def _fields(call: dict[str, Any]) -> dict[str, object]:
    tries = [f"{a['deployment']}: {a['error_class']}" for a in call["attempts"]]
    return {
        "call": call["call_id"],
        "when": time_of(call["started_at"]),
        "project": call["project_id"],
        "asked for": f"{call['requested_model']} by {call['surface']}",
        "unit": f"{call['unit_id']} (from {call['unit_source']})",
        "experiment": call["experiment_id"],
        "epoch, stage": f"{call['epoch']}, {call['stage']}",
        "assigned": f"{call['assigned_arm']} (share {percent(call['share_bp'] / 10_000)})",
        "served by": f"{call['served_deployment'] or 'nobody'} ({call['outcome']})",
        "provider's model": call["provider_model"],
        "failed tries": tries,
        "verdict": _verdict(call),
        "confidence": call["verdict_confidence"],
        "finish reason": call["finish_reason"],
        "tokens in": number(call["prompt_tokens"]),
        "tokens out": number(call["completion_tokens"]),
        "cost": dollars(call["cost_usd"]),
        "latency ms": number(call["latency_ms"]),
        "first token ms": number(call["ttft_ms"]),
        "status": call["status"],
        "error": call["error_class"],
    }
