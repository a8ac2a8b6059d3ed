"""`signalops preferences`: what there is to learn from people's words."""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Url, connect
from sidecar.cli.output import number, ordered, say, show_fields, show_json, show_table, time_of

app = typer.Typer(no_args_is_help=True, help="Look at pairs of better and worse answers.")

PATH = "/v1/preferences"
SHOWN = 60  # characters of a text in the table

Project = Annotated[str | None, typer.Option(help="Only this project's.")]


@app.command("list")
def list_all(  # noqa: PLR0913  (each is an option of the command)
    *,
    project: Project = None,
    group: Annotated[str | None, typer.Option(help="Only this model group's.")] = None,
    origin: Annotated[
        str | None, typer.Option(help="edit, rejection, choice, label or manual.")
    ] = None,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Also those that nobody stands for now.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List pairs, newest first, with the votes for and against them."""
    found = connect(url).pages(
        PATH,
        limit,
        project_id=project,
        group=group,
        origin=origin,
        is_current=None if superseded else "true",
    )
    if as_json:
        show_json(found)
        return
    columns = (">id", "=when", "origin", ">for", ">against", "chosen", "rejected")
    show_table(columns, [_row(item) for item in found])


@app.command()
def summary(*, project: Project = None, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Count pairs by origin, and what gave none."""
    found = connect(url).get(f"{PATH}/summary", project_id=project)
    if as_json:
        show_json(found)
        return
    pairs = found["pairs"]
    show_fields(
        {
            "pairs": f"{number(sum(pairs.values()))} ({ordered(pairs)})",
            "superseded": number(found["superseded"]),
            "rejected, no better": number(found["unpaired"]),
            "ties": number(found["ties"]),
            "conflicts": number(found["conflicts"]),
            "refused": ordered(found["refused"]),
        }
    )
    if not pairs:
        say("No pairs yet: edit, reject or compare answers with 'signalops feedback add'.")


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    votes = item["votes"]
    return (
        item["id"],
        time_of(item["at"]),
        item["origin"],
        votes["for_it"],
        votes["against"],
        _short(item["chosen"]),
        _short(item["rejected"]),
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
