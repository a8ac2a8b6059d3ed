"""`signalops dataset`: build what a model is trained on, look at it, verify it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sidecar.cli.client import DEFAULT_URL, MISTYPED, REFUSED, Json, Url, connect, part, stop
from sidecar.cli.downloads import patient
from sidecar.cli.output import (
    dollars,
    number,
    ordered,
    say,
    show_fields,
    show_json,
    show_table,
    text_of,
    time_of,
)

app = typer.Typer(no_args_is_help=True, help="Build and look at datasets for training.")

PATH = "/v1/datasets"
MARKS = ("handles", "links", "mail", "phone")

DatasetId = Annotated[str, typer.Argument(help="As 'signalops dataset list' shows it.")]
Share = Annotated[float, typer.Option(min=0.0, max=0.99, help="Of the units.")]


@app.command()
def build(  # noqa: PLR0913  (each is an option of the command)
    kind: Annotated[str, typer.Argument(help="sft, dpo or kto.")],
    *,
    project: Annotated[str | None, typer.Option(help="Whose calls.")] = None,
    group: Annotated[str | None, typer.Option(help="Only of this model group.")] = None,
    since: Annotated[str | None, typer.Option(help="Only calls from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only calls before this time.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Only feedback of audit, correction, review or judge; repeatable."),
    ] = None,
    min_score: Annotated[
        str | None, typer.Option(help="NAME=VALUE: only calls with this average or more.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Share of reviewers; else a strict majority.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Only of this assigned arm.")] = None,
    model: Annotated[str | None, typer.Option(help="Only texts this model wrote.")] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Only pairs of edit, rejection, choice, label or manual; repeatable."
        ),
    ] = None,
    validation: Share = 0.1,
    holdout: Share = 0.1,
    seed: Annotated[str, typer.Option(help="Another one draws another validation set.")] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Do not redact handles, links, mail or phone; repeatable."),
    ] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="NAME=REGEX to redact, too; repeatable.")
    ] = None,
    min_rows: Annotated[int, typer.Option(min=1, help="Training rows, at the least.")] = 10,
    allow_one_class: Annotated[
        bool, typer.Option("--allow-one-class", help="Even if all rows are of one class.")
    ] = False,
    expose_holdout: Annotated[
        bool, typer.Option("--expose-holdout", help="Train on what was held out before.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(help="Dollars per million tokens of training.")
    ] = None,
    as_of: Annotated[
        int | None, typer.Option(min=0, help="Id of the last feedback that counts.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Build a dataset of what people said; one of the same content is found again."""
    body = {
        "kind": kind,
        "project_id": project,
        "group": group,
        "since": since,
        "until": until,
        "sources": source or None,
        "min_score": None if min_score is None else _score(min_score),
        "min_agreement": min_agreement,
        "arm": arm,
        "model": model,
        "origins": origin or None,
        "validation": validation,
        "holdout": holdout,
        "seed": seed,
        "redact": _redact(keep or (), pattern or ()),
        "min_rows": min_rows,
        "allow_one_class": allow_one_class,
        "expose_holdout": expose_holdout,
        "usd_per_million_tokens": price,
        "as_of": as_of,
    }
    with _working("building"):
        made = patient(url).post(PATH, body)
    _answer(made, as_json=as_json)


@app.command("list")
def list_all(
    *,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List datasets, newest first."""
    found = connect(url).pages(PATH, limit, project_id=project)
    if as_json:
        show_json(found)
        return
    columns = ("=id", "kind", ">train", ">validation", ">holdout", "project", "group", "=built")
    show_table(columns, [_row(item) for item in found])


@app.command()
def show(dataset_id: DatasetId, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show a dataset with its manifest."""
    _answer(connect(url).get(f"{PATH}/{part(dataset_id)}"), as_json=as_json)


@app.command()
def verify(dataset_id: DatasetId, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Compute a dataset's hash again from its rows."""
    with _working("verifying"):
        found = patient(url).post(f"{PATH}/{part(dataset_id)}/verify")
    if as_json:
        show_json(found)
    if not found["is_intact"]:
        msg = f"{found['id']} is not intact: its {found['rows']} rows hash to {found['hash']}"
        raise stop(msg, REFUSED)
    if not as_json:
        calls = f"{number(found['calls_existing'])} of {number(found['calls'])} calls"
        say(f"{found['id']} is intact: {number(found['rows'])} rows; {calls} still exist")


def _answer(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    manifest = found["manifest"]
    tokens = manifest["tokens"]
    show_fields(
        {
            "id": found["id"],
            "kind": found["kind"],
            "project": found["project_id"],
            "rows": manifest["rows"],
            "left out": ordered(manifest["left_out"]),
            "classes": manifest["labels"]["train"],
            "balance": manifest["balance"],
            "models": ordered(manifest["models"]),
            "origins": ordered(manifest["origins"]),
            "sources": ordered(manifest["sources"]),
            "redacted": ordered(manifest["redactions"]),
            "units": number(manifest["units"]),
            "tokens": f"{number(tokens['total'])}, at most {number(tokens['max'])} a row, "
            f"by {manifest['encoding']}",
            "cost an epoch": dollars(manifest["cost_usd"]),
            "feedback": f"up to {manifest['feedback_as_of']}",
            "hash": found["hash"],
            "built": f"{time_of(found['created_at'])} by {found['created_by']}",
            "by": f"signalops {manifest['code']['version']}",
            "asked for": _asked(found["spec"]),
        }
    )


def _asked(spec: dict[str, Any]) -> str:
    said = {name: value for name, value in spec.items() if value not in (None, "", [])}
    return text_of({name: value for name, value in said.items() if name != "redact"})


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    rows = item["manifest"]["rows"]
    return (
        item["id"],
        item["kind"],
        *(number(rows[split]) for split in ("train", "validation", "holdout")),
        item["project_id"],
        item["spec"]["group"],
        time_of(item["created_at"]),
    )


def _redact(keep: Sequence[str], patterns: Sequence[str]) -> dict[str, object]:
    unknown = [name for name in keep if name not in MARKS]
    if unknown:
        msg = f"--keep may be {', '.join(MARKS)}; found {unknown[0][:80]!r}"
        raise stop(msg, MISTYPED)
    own = {}
    for pattern in patterns:
        name, separator, expression = pattern.partition("=")
        if not separator:
            msg = f"--pattern must be NAME=REGEX, found {pattern[:80]!r}"
            raise stop(msg, MISTYPED)
        own[name.strip()] = expression
    return {**{name: name not in keep for name in MARKS}, "patterns": own}


def _score(text: str) -> dict[str, object]:
    name, _, value = text.partition("=")
    try:
        return {"name": name.strip(), "value": float(value)}
    except ValueError:
        msg = f"--min-score must be NAME=VALUE with a number, found {text[:80]!r}"
        raise stop(msg, MISTYPED) from None


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Show that something goes on, and for how long, on a terminal's standard error."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        shown.add_task(what, total=None)
        yield
