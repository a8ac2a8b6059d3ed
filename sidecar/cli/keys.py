"""`signalops key`: API keys of projects."""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Reason, Url, connect, part
from sidecar.cli.output import say, show_json, show_table, time_of

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

PATH = "/v1/keys"


@app.command()
def create(  # noqa: PLR0913  (each is an option of the command)
    *,
    project: Annotated[str, typer.Option(help="The project that its calls belong to.")],
    scope: Annotated[
        list[str], typer.Option(help="infer, read, review, operate, admin; commas will do.")
    ],
    models: Annotated[
        list[str] | None, typer.Option(help="Groups it may ask for; commas will do. Else all.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="Moment with time zone, as 2027-01-31T12:00:00Z.")
    ] = None,
    reason: Reason = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Make a key, and print it: it stands nowhere else."""
    body = {
        "project_id": project,
        "scopes": _split(scope),
        "models": _split(models or []),
        "name": name,
        "expires_at": expires_at,
        "reason": reason,
    }
    made = connect(url).post(PATH, body)
    if as_json:
        show_json(made)
        return
    say(made["key"])
    say(
        f"id {made['id']}, project {made['project_id']}, scopes {', '.join(made['scopes'])}. "
        "Keep the key: it cannot be shown again."
    )


@app.command("list")
def list_all(
    *,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List keys, newest first; revoked ones too."""
    found = connect(url).pages(PATH, limit, project_id=project)
    if as_json:
        show_json(found)
        return
    columns = ("=id", "project", "name", "scopes", "models", "=created", "state")
    show_table(columns, [_row(key) for key in found])


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As 'signalops key list' shows it.")],
    reason: Reason = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Let a key open nothing any more, in every worker within a second."""
    done = connect(url).post(f"{PATH}/{part(key_id)}/revoke", {"reason": reason})
    if as_json:
        show_json(done)
        return
    say(f"{done['id']} of {done['project_id']} is revoked since {time_of(done['revoked_at'])}")


def _split(texts: list[str]) -> list[str]:
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    state = "good"
    if key["expires_at"]:
        state = f"until {time_of(key['expires_at'])}"
    if key["revoked_at"]:
        state = f"revoked {time_of(key['revoked_at'])}"
    return (
        key["id"],
        key["project_id"],
        key["name"],
        key["scopes"],
        key["models"] or "all",
        time_of(key["created_at"]),
        state,
    )
