"""`signalops model`: the registry of trained models."""

import re
from typing import Annotated, Any

import typer

from sidecar.cli.client import (
    DEFAULT_URL,
    MISTYPED,
    Api,
    Json,
    Reason,
    Url,
    connect,
    part,
    stop,
)
from sidecar.cli.output import say, show_json, show_table, time_of

app = typer.Typer(no_args_is_help=True, help="Register trained models, and choose what serves.")

PATH = "/v1/models"
_VERSION = re.compile(r"(?:ft:)?([^:@]+)@v?(\d{1,6})")

Which = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or the provider's own ft: id.")]


@app.command()
def register(  # noqa: PLR0913  (each is an option of the command)
    *,
    model_id: Annotated[str, typer.Option(help="The provider's own id.")],
    provider: Annotated[str, typer.Option(help="LiteLLM's name of it, as openai.")],
    kind: Annotated[str, typer.Option("--type", help="judge or drafter.")],
    name: Annotated[str | None, typer.Option(help="Else derived from the id.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="What LiteLLM prices it as; else from the ft: id.")
    ] = None,
    api_base: Annotated[str | None, typer.Option(help="The provider's address.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Name of the proxy's variable with the provider's key.")
    ] = None,
    reason: Reason = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Register a trained result as the next version of its name; activate makes it serve."""
    body = {
        "model_id": model_id,
        "provider": provider,
        "type": kind,
        "name": name,
        "base_model": base_model,
        "api_base": api_base,
        "api_key_env": api_key_env,
        "reason": reason,
    }
    _answer(connect(url).post(PATH, body), as_json=as_json)


@app.command("list")
def list_all(*, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List the registered models and their versions."""
    found = connect(url).get(PATH)["items"]
    if as_json:
        show_json(found)
        return
    columns = ("name", "type", ">version", "active", "provider", "=model id", "registered")
    show_table(columns, [_row(version) for model in found for version in model["versions"]])


@app.command()
def activate(
    which: Which,
    version: Annotated[int | None, typer.Option(min=1, help="Else the latest.")] = None,
    reason: Reason = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Make a version the one that ft:NAME means; it is served within a second."""
    _switch("activate", which, version, reason, url, as_json=as_json)


@app.command()
def deactivate(
    which: Which,
    version: Annotated[int | None, typer.Option(min=1, help="Else the active one.")] = None,
    reason: Reason = None,
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Take a version out of service; ft:NAME then means nothing."""
    _switch("deactivate", which, version, reason, url, as_json=as_json)


def _switch(
    action: str, which: str, version: int | None, reason: str | None, url: str, *, as_json: bool
) -> None:
    api = connect(url)
    written = _VERSION.fullmatch(which)
    if written is not None:
        which, version = written[1], int(written[2])
    name = which.removeprefix("ft:")
    if ":" in name or "/" in name:
        body = {"model_id": which, "reason": reason}
        _answer(api.post(f"{PATH}/{action}", body), as_json=as_json)
        return
    number = version if version is not None else _meant(api, name, action)
    path = f"{PATH}/{part(name)}/versions/{number}/{action}"
    _answer(api.post(path, {"reason": reason}), as_json=as_json)


def _meant(api: Api, name: str, action: str) -> int:
    """Choose the version that is meant when none is named."""
    found = api.get(f"{PATH}/{part(name)}")
    if action == "activate":
        return int(found["versions"][-1]["number"])
    if found["active"] is None:
        msg = f"no version of {name!r} is active"
        raise stop(msg, MISTYPED)
    return int(found["active"])


def _answer(version: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(version)
        return
    state = f"serves {version['alias']}" if version["is_active"] else "is not active"
    say(f"{version['name']} version {version['number']} ({version['model_id']}) {state}")


def _row(version: dict[str, Any]) -> tuple[object, ...]:
    return (
        version["name"],
        version["type"],
        version["number"],
        version["is_active"],
        version["provider"],
        version["model_id"],
        time_of(version["created_at"]),
    )
