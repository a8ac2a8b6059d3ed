"""How does the embedded PostgreSQL run: one owner, one port, and never longer than its owner?

The wheel's programs are run, its own launcher is not: that one leaks servers when its owner
is killed, takes a zombie for a server, fails on blanks in a path, and as root opens every
directory above the data to everyone. What this one keeps below the home's `postgres/`:

    lock       held by the owner; a second one is told who has it
    password   0600  generated with the data
    port       the port to come back to
    dsn        0600  while the server is owned: how every other process connects
    server/    the server account's own, with `data/` (or see `place` in `sidecar.up.cluster`)

On Linux the kernel ends the server when its owner dies in any way; elsewhere the keeper
does, and what is left nevertheless is ended by the next start. A server that dies is
started again on the same port.
"""

import asyncio
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import asyncpg

from sidecar.core.errors import Conflict, NotFound
from sidecar.up.child import Child, Event, ignore
from sidecar.up.cluster import (
    ENVIRONMENT,
    INSTEAD,
    ROLE,
    SHELTER,
    Cluster,
    DataUnusable,
    NoServer,
    check_servable,
    initialise,
    locate,
    wheel_package,
)
from sidecar.up.files import Held, held, write_private
from sidecar.up.guard import Guard
from sidecar.up.home import Home
from sidecar.up.leftover import end_leftover
from sidecar.up.runner import GRACE_S, NotReady, Runner, Stopped, wait_until_ready

HOST = "127.0.0.1"
DATABASE = "signalops"
NAME = "postgres"
START_WITHIN_S = 120.0  # a crash in the midst of heavy writing takes a while to recover
PROBE_S = 5.0
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "log_checkpoints": "off",
    # What failed is logged without the statement and its values: they may hold a prompt.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class PostgresInUse(Conflict):
    """Another process owns this home's server; use it through the DSN file."""


class NotRunning(NotFound):
    """No process owns this home's server."""


def read_dsn(home: Home) -> str:
    """Tell how to connect to the server that another process owns.

    Raises:
        NotRunning: There is none.
    """
    try:
        return (home.postgres / "dsn").read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        msg = f"no embedded PostgreSQL runs on {home.root}; start it with `signalops up`"
        raise NotRunning(msg) from error


class EmbeddedPostgres:
    """The one server of a home, owned by this process; also a context manager.

    Args:
        home: Where its state lives.
        on_event: Hears of starts, exits and restarts, from the server's own thread.
        guard: Told of the server's process group.
        package: The installed wheel's package; found when not given.
        shelter: See `sidecar.up.cluster`.
        password: Makes the password of a new database.
    """

    name = NAME

    def __init__(
        self,
        home: Home,
        *,
        on_event: Callable[[Event], None] = ignore,
        guard: Guard | None = None,
        package: Path | None = None,
        shelter: Path = SHELTER,
        password: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._home = home
        self._on_event = on_event
        self._guard = guard
        self._package = package
        self._shelter = shelter
        self._new_password = password
        self._owned = ExitStack()  # what `stop` undoes, last first
        self._runner: Runner | None = None

    @property
    def dsn(self) -> str:
        """How to connect; stays the same while this process owns the server.

        Raises:
            NotRunning: It is not started.
        """
        return read_dsn(self._home)

    @property
    def pid(self) -> int | None:
        """The server's process id; None while it does not run."""
        return self._runner.pid if self._runner else None

    def start(
        self, within_s: float = START_WITHIN_S, *, stop: threading.Event | None = None
    ) -> str:
        """Start the server, make its data if there is none, and wait until it answers.

        Args:
            within_s: How long a server that lives may take.
            stop: Set by whoever wants to end the waiting.

        Returns:
            The DSN of a database that exists.

        Raises:
            Stopped: `stop` was set before the server answered; it is gone again.
            PostgresInUse: Another process owns it.
            NoServer: It does not start; the message says what is known and possible.
            DataMissing, DataUnusable: The data is gone, or of no use to this server.
        """
        self._home.prepare()
        self._take_ownership()
        try:
            cluster, password = self._make_cluster()
            end_leftover(cluster.data)
            port = _choose_port(self._home.postgres / "port")
            dsn = f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}"
            self._runner = self._run(cluster, port, password)
            _wait(self._runner, within_s, stop)
            self._publish(dsn)
        except NotReady as error:
            self.stop()
            msg = f"{error}; {INSTEAD}"
            raise NoServer(msg) from error
        except BaseException:
            self.stop()
            raise
        return dsn

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Shut the server down, killing it after `grace_s`, and give up the ownership."""
        if self._runner is not None:
            self._runner.stop(grace_s)
            self._runner = None
        self._owned.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_ownership(self) -> None:
        try:
            self._owned.enter_context(held(self._home.postgres / "lock"))
        except Held as error:
            msg = (
                f"the PostgreSQL of {self._home.root} belongs to {error.holder}; "
                f"connect as {self._home.postgres / 'dsn'} says"
            )
            raise PostgresInUse(msg) from error

    def _make_cluster(self) -> tuple[Cluster, str]:
        package = self._package or wheel_package()
        cluster = locate(self._home.postgres, package=package, shelter=self._shelter)
        kept = self._home.postgres / "password"
        if not cluster.exists:
            write_private(kept, self._new_password())
            initialise(cluster, kept.read_text(encoding="utf-8"))
        elif not kept.exists():
            msg = f"{cluster.data} holds data, but its password file {kept} is gone; restore it"
            raise DataUnusable(msg)
        check_servable(cluster)
        return cluster, kept.read_text(encoding="utf-8")

    def _run(self, cluster: Cluster, port: int, password: str) -> Runner:
        account = cluster.account
        child = Child(
            name=NAME,
            argv=_command(cluster, port),
            environment=ENVIRONMENT,
            log_path=self._home.log_of(NAME),
            ready=lambda: asyncio.run(_answers(port, password)),
            before=lambda: end_leftover(cluster.data),
            account=(account.uid, account.gid) if account else None,
            stop_signal=signal.SIGINT,  # fast shutdown: PostgreSQL's SIGTERM waits for clients
        )
        runner = Runner(child, on_event=self._on_event, guard=self._guard)
        runner.start()
        return runner

    def _publish(self, dsn: str) -> None:
        path = self._home.postgres / "dsn"
        write_private(path, f"{dsn}\n")
        self._owned.callback(path.unlink, missing_ok=True)


def _wait(runner: Runner, within_s: float, stop: threading.Event | None) -> None:
    if not wait_until_ready(runner, limit_s=within_s, stop=stop):
        msg = "PostgreSQL was stopped before it answered"
        raise Stopped(msg)


def _command(cluster: Cluster, port: int) -> tuple[str, ...]:
    settings = {**SETTINGS, "port": str(port)}
    flags = (part for key, value in settings.items() for part in ("-c", f"{key}={value}"))
    return (str(cluster.programs / "postgres"), "-D", str(cluster.data), *flags)


def _choose_port(kept: Path) -> int:
    """Take the port used last time if it is still free, else any."""
    last = kept.read_text().strip() if kept.exists() else ""
    if last.isdigit() and _free_port(int(last)) is not None:
        return int(last)
    port = _free_port(0)
    if port is None:
        msg = f"no port is free on {HOST}; {INSTEAD}"
        raise NoServer(msg)
    write_private(kept, f"{port}\n")
    return port


def _free_port(wanted: int) -> int | None:
    with socket.socket() as probe:
        # As PostgreSQL does: connections that linger after a restart are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            return None
        port: int = probe.getsockname()[1]
        return port


async def _answers(port: int, password: str) -> bool:
    """Reach our server with our password or raise; create the database the first time.

    SCRAM proves the server to us as well, so another one on the port does not pass.
    """
    try:
        await _execute("SELECT 1", DATABASE, port, password)
    except asyncpg.InvalidCatalogNameError:
        await _execute(f"CREATE DATABASE {DATABASE}", "postgres", port, password)
    return True


async def _execute(statement: str, database: str, port: int, password: str) -> None:
    connection = await asyncpg.connect(
        host=HOST,
        port=port,
        user=ROLE,
        password=password,
        database=database,
        ssl=False,
        timeout=PROBE_S,
    )
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
