"""`signalops feedback`: say what a call's answer should have been, and see what was said."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, MISTYPED, REFUSED, Json, Url, connect, stop
from sidecar.cli.feedback_lines import send_lines
from sidecar.cli.output import complain, say, show_json, show_table, time_of

app = typer.Typer(no_args_is_help=True, help="Give and look at feedback on calls.")

PATH = "/v1/feedback"

CallId = Annotated[str, typer.Argument(help="As the header x-signalops-call-id has it.")]
MaybeCallId = Annotated[
    str | None,
    typer.Argument(
        help="As the header x-signalops-call-id has it; not with --response-id.",
        show_default=False,
    ),
]
Reviewer = Annotated[
    str, typer.Option(envvar=["SIGNALOPS_REVIEWER", "USER"], help="Who says it.")
]
_TEXT = "TEXT, or @FILE for a file's text as it is (@@ begins a text with @)."
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_CHOICES = {1: "better than", 0: "worse than", 0.5: "as good as"}


@app.command()
def add(  # noqa: PLR0913  (each is an option of the command)
    call_id: MaybeCallId = None,
    *,
    response_id: Annotated[str | None, typer.Option(help="The id the answer bore.")] = None,
    label: Annotated[str | None, typer.Option(help="What the judge should say.")] = None,
    approved: Annotated[
        bool | None, typer.Option("--approved/--rejected", help="Whether a draft is good.")
    ] = None,
    better: Annotated[str | None, typer.Option(help=f"With --rejected, the {_TEXT}")] = None,
    edit: Annotated[str | None, typer.Option(help=f"The draft's final {_TEXT}")] = None,
    over: Annotated[
        str | None, typer.Option(help="Id of a call whose answer to the same is worse.")
    ] = None,
    tie_with: Annotated[
        str | None, typer.Option(help="Id of a call whose answer to the same is as good.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="NAME=VALUE, as score=0.7 or sent=true.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="audit (of a drawn call), correction, judge or review.")
    ] = "correction",
    reviewer: Reviewer = "unnamed",
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Of your making: sent again, it changes nothing.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say something of a call; the same reviewer's earlier word is superseded."""
    if (call_id is None) == (response_id is None):
        msg = "name the call by its id, or by --response-id"
        raise stop(msg, MISTYPED)
    name, said = (None, None) if value is None else _value(value)
    body = {
        "call_id": call_id,
        "response_id": response_id,
        "label": label,
        "approved": approved,
        "better": _text(better),
        "edit": _text(edit),
        "over": over,
        "tie_with": tie_with,
        "name": name,
        "value": said,
        "source": source,
        "reviewer": reviewer,
        "comment": comment,
        "key": key,
    }
    found = connect(url).post(PATH, body)
    if as_json:
        show_json(found)
        return
    say(f"feedback {found['id']}: {_what(found)}, by {found['reviewer']} as {found['source']}")


@app.command("import")
def import_lines(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(help="One JSON object a line, as the API takes it; - for the input."),
    ],
    *,
    reviewer: Reviewer = "unnamed",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say what a file says, line by line; refused lines are named, the others are kept.

    A line without a reviewer is yours. To send a file once more changes nothing.
    """
    done = send_lines(connect(url), PATH, file, reviewer)
    if as_json:
        show_json({"kept": done.kept, "new": done.new, "refused": done.refused})
    else:
        for refused in done.refused:
            complain(f"line {refused['line']}: {refused['problem']['detail']}")
        said_before = done.kept - done.new
        say(f"kept {done.kept:,} ({said_before:,} said before), refused {len(done.refused):,}")
    if done.refused:
        raise typer.Exit(REFUSED)


@app.command("list")
def list_all(call_id: CallId, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List all that was said of a call, in order."""
    found = connect(url).get(PATH, call_id=call_id)
    if as_json:
        show_json(found["items"])
        return
    columns = (">id", "=when", "what", "source", "reviewer", "counts", "comment")
    show_table(columns, [_row(item) for item in found["items"]])
    if found["draft"] is not None:
        say(f"The draft is {found['draft']['state']}.")


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


def _text(typed: str | None) -> str | None:
    """Read a text that was typed, or the file that was named instead."""
    if typed is None or not typed.startswith("@"):
        return typed
    if typed.startswith("@@"):
        return typed[1:]
    try:
        # Bytes, for a text's line ends are to be kept as they are.
        return Path(typed[1:]).read_bytes().decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{typed[1:]} cannot be read: {why}"
        raise stop(msg, MISTYPED) from None


def _what(item: dict[str, Any]) -> str:
    kind, value = item["kind"], item["value"]
    if kind == "choice":
        return f"{_CHOICES[value]} {item['other_call_id']}"
    if kind in ("edit", "pair", "comment"):
        return str(kind)
    said = item["label"] if kind == "label" else str(value).lower()
    better = ", better text given" if item["text"] is not None else ""
    return f"{item['name']} {said}{better}"


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
