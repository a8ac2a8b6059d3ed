"""`signalops experiment verify`: are an experiment's totals what its rows add up to?"""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, REFUSED, Json, Url, connect, part
from sidecar.cli.experiments import PATH
from sidecar.cli.output import say, show_json, show_table

MOST = 10_000  # experiments that one call of the command looks at


def verify(
    experiment_id: Annotated[
        str | None, typer.Argument(help="Left out: every experiment.")
    ] = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Replace totals that differ by the recount.")
    ] = False,
    epoch: Annotated[int | None, typer.Option(min=1, help="An earlier epoch.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Compare totals with a recount of the rows; exit code 1 when they differ."""
    api = connect(url)
    every = [] if experiment_id else api.pages(PATH, MOST)
    has_it = (item["id"] for item in every if epoch is None or epoch <= item["epoch"])
    ids = [experiment_id] if experiment_id else list(has_it)
    query = "" if epoch is None else f"?epoch={epoch}"
    found = []
    for each in ids:
        path = f"{PATH}/{part(each)}/verify{query}"
        found.append(api.post(path) if repair else api.get(path))
    if as_json:
        show_json(found)
    else:
        _show(found)
    if any(item["differences"] and not item["repaired"] for item in found):
        raise typer.Exit(REFUSED)


def _show(found: list[dict[str, Any]]) -> None:
    for item in found:
        what = f"experiment {item['experiment_id']}, epoch {item['epoch']}"
        different = len(item["differences"])
        if not different:
            say(f"{what}: every total is what the rows add up to")
            continue
        say(f"{what}: {different} differ" + (", now repaired" if item["repaired"] else ""))
        columns = (">stage", "arm", "total", ">stored", ">recounted")
        show_table(columns, [_row(each) for each in item["differences"]])


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    counts = (f"{item['stored']:,}", f"{item['recounted']:,}")  # exact, however large
    return (item["stage"], item["arm"], item["name"], *counts)
