import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from sidecar.up.cluster import PACKAGE
from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres, NotRunning, PostgresInUse, read_dsn
from sidecar.up.runner import Stopped
from sidecar.up.supervisor import Supervisor
from tests.embedded import Owner, mode, sql
from tests.processes import eventually, runs


# A process of its own that owns the server until it is killed.
@pytest.fixture
def owner(home: Home) -> Iterator[Owner]:
    owner = Owner(home)
    yield owner
    owner.kill()
    eventually(lambda: not runs(owner.server_pid))


def test_the_server_is_private_checksummed_and_reached_by_password_over_loopback(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    dsn = embedded.start()
    assert dsn.startswith("postgresql://signalops:")
    assert dsn.endswith("/signalops")
    settings = ["server_version_num", "data_checksums", "server_encoding", "listen_addresses"]
    settings += ["unix_socket_directories", "password_encryption", "TimeZone", "fsync"]
    found = {name: sql(dsn, f"SHOW {name}")[0] for name in settings}
    assert found.pop("server_version_num").startswith("18")
    assert found == {
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "TimeZone": "UTC",
        "fsync": "on",
    }
    assert sql(dsn, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == ["scram-sha-256"]
    password = (home.postgres / "password").read_text()
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(dsn.replace(password, "guess"), "SELECT 1")


def test_every_secret_file_is_closed_to_others(embedded: EmbeddedPostgres, home: Home) -> None:
    previous = os.umask(0)
    try:
        dsn = embedded.start()
    finally:
        os.umask(previous)
    password = (home.postgres / "password").read_text()
    assert len(password) >= 43
    secret = [p for p in home.root.rglob("*") if p.is_file() and holds(p, password)]
    assert sorted(path.name for path in secret) == ["dsn", "password"]
    everything = [*secret, home.log_of("postgres"), home.postgres / "lock"]
    assert {mode(path) for path in everything} == {"0o600"}
    assert mode(Path(sql(dsn, "SHOW data_directory")[0])) == "0o700"


def holds(path: Path, secret: str) -> bool:
    return secret.encode() in path.read_bytes()


def test_the_server_inherits_no_environment_and_shows_no_password_in_its_arguments(
    home: Home, ground: Path
) -> None:
    # A process of its own, so that the secret stands in its environment for real.
    owner = Owner(home, "/usr/bin/env", "OPENAI_API_KEY=s3cret", "PGPORT=1", "PGDATA=/nowhere")
    try:
        server = psutil.Process(owner.server_pid)
        assert set(server.environ()) == {"LC_ALL", "TZ", "PATH"}
        password = (home.postgres / "password").read_text()
        assert password not in " ".join(server.cmdline())
    finally:
        owner.kill()
        eventually(lambda: not runs(owner.server_pid))


def test_what_fails_is_logged_without_the_statement(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    dsn = embedded.start()
    sql(dsn, "CREATE TABLE prompts (text text PRIMARY KEY)")
    sql(dsn, "INSERT INTO prompts VALUES ('my s3cret prompt')")
    with pytest.raises(asyncpg.UniqueViolationError):
        sql(dsn, "INSERT INTO prompts VALUES ('my s3cret prompt')")
    log = home.log_of("postgres").read_text()
    assert "prompts_pkey" in log
    assert "s3cret" not in log


def test_rows_and_dsn_survive_a_stop_and_a_start(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    dsn = embedded.start()
    sql(dsn, "CREATE TABLE t AS SELECT 42 AS n")
    pid = embedded.pid or 0
    embedded.stop()
    assert not runs(pid)
    assert embedded.pid is None
    assert embedded.start() == dsn
    assert sql(dsn, "SELECT n FROM t") == [42]
    embedded.stop()
    assert "was not properly shut down" not in home.log_of("postgres").read_text()


def test_another_process_attaches_through_the_dsn_file(owner: Owner, home: Home) -> None:
    assert sql(read_dsn(home), "SELECT 1") == [1]


def test_there_is_a_dsn_only_while_the_server_is_owned(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    home.prepare()
    with pytest.raises(NotRunning, match="start it with `signalops up`"):
        read_dsn(home)
    with embedded:
        assert embedded.dsn == read_dsn(home)
    with pytest.raises(NotRunning):
        read_dsn(home)


def test_a_second_owner_is_told_who_is_the_first(
    owner: Owner, embedded: EmbeddedPostgres, home: Home
) -> None:
    with pytest.raises(PostgresInUse, match=f"belongs to process {owner.process.pid}"):
        embedded.start()
    assert sql(read_dsn(home), "SELECT 1") == [1]


def test_starting_twice_disturbs_nothing(embedded: EmbeddedPostgres) -> None:
    dsn = embedded.start()
    with pytest.raises(PostgresInUse):
        embedded.start()
    assert sql(dsn, "SELECT 1") == [1]


def test_the_embedded_server_can_be_one_of_a_supervisors_services(
    embedded: EmbeddedPostgres,
) -> None:
    with Supervisor(threading.Event()) as supervisor:
        embedded.start()
        supervisor.adopt(embedded)
        pid = embedded.pid or 0
        assert runs(pid)
    assert not runs(pid)


def test_a_start_that_is_stopped_gives_up_the_server_and_the_home(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        embedded.start(stop=stop)
    assert embedded.pid is None
    with pytest.raises(NotRunning):
        read_dsn(home)
    assert sql(embedded.start(), "SELECT 1") == [1]


def test_the_wheels_own_launcher_is_never_imported() -> None:
    script = "import sys, sidecar.up.postgres as p; p.wheel_package(); print(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "sidecar.up.postgres" in told.stdout.split()
    assert PACKAGE not in told.stdout.split()
