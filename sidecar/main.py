"""The `signalops` command: what asks the admin API, and what starts things."""

from sidecar.cli.main import app
from sidecar.cli.main import run as run_app
from sidecar.up.commands import add_to

add_to(app)


def run() -> None:
    """Run the command line and exit with its code."""
    run_app()
