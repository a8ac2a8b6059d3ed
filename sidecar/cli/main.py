"""What can be typed after `signalops`? One command group a noun, all through the admin API."""

import typer

from sidecar.cli import (
    calls,
    datasets,
    decisions,
    experiments,
    export,
    feedback,
    keys,
    models,
    preferences,
    routes,
)
from sidecar.cli.agreement import agreement
from sidecar.cli.health import health
from sidecar.cli.review import review
from sidecar.cli.verify import verify

app = typer.Typer(
    name="signalops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=(
        "Run trustworthy experiments on LLM judges and drafters. Exit codes: 0 done, "
        "1 refused by the API, 2 typed wrong, 3 not reachable."
    ),
)
decisions.add_to(experiments.app)
app.add_typer(experiments.app, name="experiment")
app.add_typer(routes.app, name="routes")
app.add_typer(models.app, name="model")
app.add_typer(keys.app, name="key")
app.add_typer(calls.app, name="call")
app.add_typer(feedback.app, name="feedback")
app.add_typer(export.app, name="export")
app.add_typer(preferences.app, name="preferences")
app.add_typer(datasets.app, name="dataset")
experiments.app.command()(verify)
app.command()(health)
app.command()(review)
app.command()(agreement)


def run() -> None:
    """Run the command line and exit with its code."""
    app()
