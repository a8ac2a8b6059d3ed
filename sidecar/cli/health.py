"""`signalops health`: does everything work?"""

from typing import Any

import typer

from sidecar.cli.client import DEFAULT_URL, REFUSED, Json, Url, connect
from sidecar.cli.output import show_fields, show_json, time_of

OK = 200


def health(*, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Say whether the sidecar is ready, and how recording stands; exit code 1 if it is not."""
    status, found = connect(url).ready()
    if as_json:
        show_json(found)
    else:
        show_fields(_fields(found))
    if status != OK:
        raise typer.Exit(REFUSED)


def _fields(found: dict[str, Any]) -> dict[str, object]:
    """Say what is known; a key that may not read is told less."""
    checked, workers = found.get("reconciliation") or {}, found.get("workers") or []
    drain = found.get("drain") or {}
    alive = sum(1 for worker in workers if worker["alive"])
    return {
        "status": found["status"],
        "waiting for": found["waiting_for"],
        "database": found.get("database_error") or "answers",
        "routes": f"generation {found.get('generation')}",
        "published": time_of(found.get("published_at")),
        "YAML": found.get("config_error") or "in force",
        "publishing": found.get("publish_error") or "works",
        "draining": drain.get("error") or "works",
        "proxy workers": f"{alive} run",
        "calls served": checked.get("served"),
        "calls stored": checked.get("stored"),
        "missing": checked.get("explanation"),
        "warnings": found.get("warnings"),
    }
