"""`signalops agreement`: how far do reviewers agree on what two or more of them judged?"""

from typing import Annotated, Any

import typer

from sidecar.cli.client import DEFAULT_URL, Json, Url, connect
from sidecar.cli.output import NOTHING, say, show_json, show_table


def agreement(
    *,
    of: Annotated[str, typer.Option(help="labels, or choices between two arms.")] = "labels",
    group: Annotated[str | None, typer.Option(help="Only this model group's calls.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say how far reviewers agree: kappa is 1 for always, 0 for no more than by chance."""
    found = connect(url).get("/v1/reviews/agreement", of=of, group=group)
    if as_json:
        show_json(found)
        return
    if not found["pairs"]:
        say("Nobody judged what somebody else has: labels are doubled as calls are drawn.")
        return
    rows = [_row(pair) for pair in found["pairs"]]
    everyone = ("all together", found["n"], NOTHING, _kappa(found["fleiss"]))
    show_table(("reviewers", ">n", ">same", "=kappa (95 %)"), [*rows, everyone])


def _row(pair: dict[str, Any]) -> tuple[object, ...]:
    names = " and ".join(pair["reviewers"])
    return names, pair["n"], f"{pair['observed']:.1%}", _kappa(pair["kappa"])


def _kappa(found: dict[str, Any] | None) -> str:
    if found is None:
        return NOTHING  # one label only: nothing could have differed
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
