import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from sidecar.up.child import Event, Kind
from sidecar.up.cluster import DataUnusable, NoServer
from sidecar.up.home import Home
from sidecar.up.leftover import end_leftover
from sidecar.up.postgres import EmbeddedPostgres, read_dsn
from sidecar.up.runner import launch_prefix
from tests.embedded import ROOT, Owner, Writer, data_of, linux, lost, sql
from tests.processes import eventually, runs


# A process of its own that owns the server until it is killed.
@linux
def test_the_server_dies_with_a_killed_owner_and_every_committed_row_comes_back(
    home: Home, embedded: EmbeddedPostgres
) -> None:
    owner = Owner(home)
    writer = Writer(read_dsn(home))
    owner.kill()
    eventually(lambda: not runs(owner.server_pid))
    writer.join()
    assert lost(embedded.start(), writer) == set()


def test_a_start_right_after_the_owner_was_killed_with_its_server_works(
    home: Home, embedded: EmbeddedPostgres
) -> None:
    owner = Owner(home)
    dsn = read_dsn(home)
    writer = Writer(dsn)
    os.kill(owner.server_pid, signal.SIGKILL)
    owner.kill()
    assert lost(embedded.start(), writer) == set()
    writer.join()


def test_a_start_does_not_wait_for_the_killed_owners_server_to_go_by_itself(
    home: Home, embedded: EmbeddedPostgres
) -> None:
    owner = Owner(home)
    dsn = read_dsn(home)
    sql(dsn, "CREATE TABLE t AS SELECT 42 AS n")
    owner.kill()
    assert sql(embedded.start(), "SELECT n FROM t") == [42]
    assert not runs(owner.server_pid)
    assert embedded.dsn == dsn


def test_a_killed_server_comes_back_on_the_same_port_with_every_committed_row(
    home: Home, ground: Path
) -> None:
    events: list[Event] = []
    server = EmbeddedPostgres(home, shelter=ground / "shelter", on_event=events.append)
    with server:
        dsn = server.dsn
        writer = Writer(dsn)
        first = server.pid or 0
        os.kill(first, signal.SIGKILL)
        writer.join()
        eventually(lambda: [one.kind for one in events].count(Kind.READY) == 2)
        assert server.dsn == dsn
        assert server.pid not in {None, first}
        assert lost(dsn, writer) == set()
    exits = [one.code for one in events if one.kind is Kind.EXITED]
    assert exits[0] == -signal.SIGKILL
    assert [one for one in psutil.Process().children() if one.status() == "zombie"] == []


def test_a_port_that_was_taken_meanwhile_is_exchanged(embedded: EmbeddedPostgres) -> None:
    dsn = embedded.start()
    embedded.stop()
    port = int(dsn.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        other = embedded.start()
        assert other != dsn
        assert sql(other, "SELECT 1") == [1]


def server_account(home: Home) -> tuple[int, int]:
    status = data_of(home).stat()
    return status.st_uid, status.st_gid


def test_a_server_that_outlived_its_owner_is_ended_first(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    dsn = embedded.start()
    sql(dsn, "CREATE TABLE t AS SELECT 42 AS n")
    command = psutil.Process(embedded.pid).cmdline()
    embedded.stop()
    account = "{}:{}".format(*server_account(home)) if ROOT else "-"
    # Our own child, and not collected: it stays a zombie with its pid in the pid file.
    survivor = subprocess.Popen([*launch_prefix(signal.SIGKILL), account, *command])
    eventually((data_of(home) / "postmaster.pid").exists)
    assert sql(embedded.start(), "SELECT n FROM t") == [42]
    assert psutil.Process(survivor.pid).status() == psutil.STATUS_ZOMBIE
    survivor.wait()


@pytest.mark.parametrize("garbage", ["", "\n", "garbage"], ids=["empty", "no pid", "no number"])
def test_a_pid_file_cut_short_is_no_obstacle(
    embedded: EmbeddedPostgres, home: Home, garbage: str
) -> None:
    embedded.start()
    embedded.stop()
    (data_of(home) / "postmaster.pid").write_text(garbage)
    assert sql(embedded.start(), "SELECT 1") == [1]


def test_a_pid_that_now_belongs_to_someone_else_is_no_obstacle_and_nobody_is_harmed(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    embedded.start()
    embedded.stop()
    account = "{}:{}".format(*server_account(home)) if ROOT else "-"
    # Of the same account, or PostgreSQL itself would see that it is no server.
    sleep = [*launch_prefix(signal.SIGKILL), account, "/bin/sleep", "600"]
    stranger = subprocess.Popen(sleep)
    try:
        pid_file = data_of(home) / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{data_of(home)}\n1\n1\n\n127.0.0.1\n")
        if ROOT:
            os.chown(pid_file, *server_account(home))
        assert sql(embedded.start(), "SELECT 1") == [1]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pid_file_of_a_server_that_is_gone_is_left_to_postgresql(tmp_path: Path) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{gone.pid}\n{tmp_path}\n")
    end_leftover(tmp_path)
    assert pid_file.read_text() == f"{gone.pid}\n{tmp_path}\n"


def test_an_interrupted_first_start_is_begun_anew(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    home.prepare()
    half = home.postgres / "server" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert sql(embedded.start(), "SELECT 1") == [1]
    assert not half.exists()


def test_data_of_another_major_version_is_refused_and_kept(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    embedded.start()
    embedded.stop()
    version = data_of(home) / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(DataUnusable, match="made by PostgreSQL 16, the embedded one is 18"):
        embedded.start()
    version.write_text("18\n")
    assert sql(embedded.start(), "SELECT 1") == [1]


def test_data_without_its_password_is_refused_and_kept(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    embedded.start()
    embedded.stop()
    kept = home.postgres / "password"
    password = kept.read_text()
    kept.unlink()
    with pytest.raises(DataUnusable, match="restore it"):
        embedded.start()
    kept.write_text(password)
    assert sql(embedded.start(), "SELECT 1") == [1]


def test_programs_that_are_not_there_are_reported_with_a_way_out(
    home: Home, ground: Path
) -> None:
    server = EmbeddedPostgres(home, package=ground / "nowhere", shelter=ground / "shelter")
    with pytest.raises(NoServer, match="SIGNALOPS_DATABASE_URL"):
        server.start()


def test_a_server_that_cannot_start_is_reported_with_its_log_and_gives_up_the_home(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    embedded.start()
    embedded.stop()
    settings = data_of(home) / "postgresql.conf"
    good = settings.read_text()
    settings.write_text("nonsense = on\n")
    with pytest.raises(NoServer, match=r"last exited with code 1; its log: .*postgres\.log"):
        embedded.start()
    assert "nonsense" in home.log_of("postgres").read_text()
    settings.write_text(good)
    assert sql(embedded.start(), "SELECT 1") == [1]
