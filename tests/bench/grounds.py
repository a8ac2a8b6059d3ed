"""Where does a measurement run? In a database and a folder of its own, gone afterwards."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres
from tests.databases import create_database, drop_database


@contextmanager
def grounds() -> Iterator[tuple[str, Path]]:
    """Make an empty database and an empty folder.

    The database is made on the server of `SIGNALOPS_DATABASE_URL`, or on an embedded one.

    Yields:
        The database's URL, and the folder.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = os.environ.get("SIGNALOPS_DATABASE_URL")
        if not server:
            directory.chmod(0o711)  # a root user's server runs as another account
            server = stack.enter_context(EmbeddedPostgres(Home(directory / "home"))).dsn
        url = create_database(server, f"signalops_bench_{os.getpid()}")
        stack.callback(drop_database, url)
        yield url, directory
