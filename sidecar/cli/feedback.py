"""`signalops feedback`: say what a call's answer should have been, and see what was said."""

import math
from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, MISTYPED, Json, Url, connect, stop
from sidecar.cli.output import say, show_json, show_table, time_of

app = typer.Typer(no_args_is_help=True, help="Give and look at feedback on calls.")

PATH = "/v1/feedback"

CallId = Annotated[str, typer.Argument(help="As the header x-signalops-call-id has it.")]
_WORDS = {"true": True, "yes": True, "false": False, "no": False}


@app.command()
def add(  # noqa: PLR0913  (each is an option of the command)
    call_id: CallId,
    *,
    label: Annotated[str | None, typer.Option(help="What the judge should say.")] = None,
    approved: Annotated[
        bool | None, typer.Option("--approved/--rejected", help="Whether a draft is good.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="NAME=VALUE, as score=0.7 or sent=true.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="audit (of a drawn call), correction or judge.")
    ] = "correction",
    reviewer: Annotated[
        str, typer.Option(envvar=["SIGNALOPS_REVIEWER", "USER"], help="Who says it.")
    ] = "unnamed",
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say something of a call; the same reviewer's earlier word is superseded."""
    name, said = (None, None) if value is None else _value(value)
    body = {
        "call_id": call_id,
        "label": label,
        "approved": approved,
        "name": name,
        "value": said,
        "source": source,
        "reviewer": reviewer,
        "comment": comment,
    }
    found = connect(url).post(PATH, body)
    if as_json:
        show_json(found)
        return
    say(f"feedback {found['id']}: {_what(found)}, by {found['reviewer']} as {found['source']}")


@app.command("list")
def list_all(call_id: CallId, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List all that was said of a call, in order."""
    found = connect(url).get(PATH, call_id=call_id)["items"]
    if as_json:
        show_json(found)
        return
    columns = (">id", "=when", "what", "source", "reviewer", "counts", "comment")
    show_table(columns, [_row(item) for item in found])


def _value(text: str) -> tuple[str, float | bool]:
    name, _, said = text.partition("=")
    word = said.strip().casefold()
    value = _WORDS.get(word, _number(word))
    if value is None:
        msg = f"--value must be NAME=VALUE with a number, true or false, found {text[:80]!r}"
        raise stop(msg, MISTYPED)
    return name.strip(), value


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _what(item: dict[str, Any]) -> str:
    said = item["label"] if item["label"] is not None else str(item["value"]).lower()
    return f"{item['name']} {said}"


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    return (
        item["id"],
        time_of(item["at"]),
        _what(item),
        item["source"],
        item["reviewer"],
        "yes" if item["is_current"] else "superseded",
        item["comment"],
    )
