"""Owners of an embedded PostgreSQL, and what tests ask of it."""

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sidecar.up.home import Home
from tests.processes import eventually

ROOT = os.geteuid() == 0
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server outlives this")
as_root = pytest.mark.skipif(not ROOT, reason="only root has to drop to another account")


@contextmanager
def common_ground() -> Iterator[Path]:
    """A directory with a blank in its path that every account may pass through."""
    with tempfile.TemporaryDirectory(prefix="signal ops ") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


def sql(dsn: str, statement: str) -> list[Any]:
    """Run one statement on a connection of its own; the first column of its rows."""

    async def once() -> list[Any]:
        connection = await asyncpg.connect(dsn, ssl=False, timeout=10)
        try:
            return [row[0] for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(once())


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


OWNER = """
import sys, time
from pathlib import Path
from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Home(Path(sys.argv[1])), shelter=Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


class Owner:
    def __init__(self, home: Home, *prefix: str) -> None:
        arguments = [str(home.root), str(home.root.parent / "shelter")]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", OWNER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the owner did not get its server up"
        self.server_pid = int(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def data_of(home: Home) -> Path:
    return home.postgres / "server" / "data"


class Writer:
    """Commits 0, 1, 2 … until the server goes; knows what was acknowledged."""

    def __init__(self, dsn: str) -> None:
        self.acknowledged: list[int] = []
        sql(dsn, "CREATE TABLE t (n int PRIMARY KEY)")
        # A daemon, so that a server that does not go fails the test and not the whole run.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._write(dsn)), daemon=True
        )
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 50)

    def join(self) -> None:
        self._thread.join()

    async def _write(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn, ssl=False)
        # A connection cut while it waits makes asyncpg trip over its own state.
        cut = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        with suppress(*cut, OSError):
            while True:
                n = len(self.acknowledged)
                await connection.execute("INSERT INTO t VALUES ($1)", n)
                self.acknowledged.append(n)


def lost(dsn: str, writer: Writer) -> set[int]:
    return set(writer.acknowledged) - set(sql(dsn, "SELECT n FROM t"))
