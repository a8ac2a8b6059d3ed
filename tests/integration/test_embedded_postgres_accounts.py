import os
import pwd
import shutil
from pathlib import Path

import psutil
import pytest

from sidecar.up.cluster import PACKAGE, DataMissing, wheel_package
from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres, read_dsn
from tests.embedded import Owner, as_root, data_of, linux, mode, sql
from tests.processes import eventually, runs


@as_root
def test_root_drops_to_an_account_that_owns_the_data_and_keeps_the_secrets(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    embedded.start()
    names = {entry.pw_name for entry in pwd.getpwall()}
    expected = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    server = psutil.Process(embedded.pid)
    assert set(server.uids()) == {expected.pw_uid}
    assert set(server.gids()) == {expected.pw_gid}
    status = Path(f"/proc/{server.pid}/status")
    if status.exists():
        groups = [line for line in status.read_text().splitlines() if line.startswith("Groups")]
        assert groups[0].split() == ["Groups:"]
    assert data_of(home).stat().st_uid == expected.pw_uid
    assert (home.postgres / "password").stat().st_uid == 0
    assert [mode(home.root), mode(home.postgres)] == ["0o711", "0o711"]
    assert [mode(home.logs), mode(home.handoff)] == ["0o700", "0o700"]


@as_root
def test_data_stays_with_the_account_that_made_it(
    embedded: EmbeddedPostgres, home: Home
) -> None:
    dsn = embedded.start()
    sql(dsn, "CREATE TABLE t AS SELECT 42 AS n")
    embedded.stop()
    other = 23_456
    for path in (data_of(home).parent, *data_of(home).parent.rglob("*")):
        os.chown(path, other, other)
    assert sql(embedded.start(), "SELECT n FROM t") == [42]
    assert psutil.Process(embedded.pid).uids().real == other


@pytest.fixture
def closed(ground: Path) -> Path:
    """A directory nobody but root may pass through, as `/root` is."""
    path = ground / "closed"
    path.mkdir(mode=0o700)
    return path


@as_root
def test_data_of_a_home_that_the_account_cannot_reach_stands_in_the_shelter(
    ground: Path, closed: Path
) -> None:
    home, shelter = Home(closed / "home"), ground / "shelter"
    with EmbeddedPostgres(home, shelter=shelter) as server:
        sql(server.dsn, "CREATE TABLE t AS SELECT 42 AS n")
        data = Path(sql(server.dsn, "SHOW data_directory")[0])
    assert data.is_relative_to(shelter)
    assert [mode(closed), mode(home.root), mode(home.postgres)] == ["0o700"] * 3
    with EmbeddedPostgres(home, shelter=shelter) as server:
        assert sql(server.dsn, "SELECT n FROM t") == [42]
    shutil.rmtree(home.root)
    with EmbeddedPostgres(home, shelter=shelter) as server:
        assert sql(server.dsn, "SELECT to_regclass('t')") == [None]
        assert Path(sql(server.dsn, "SHOW data_directory")[0]) != data
    shutil.rmtree(shelter)
    with pytest.raises(DataMissing, match="which is gone; bring it back"):
        EmbeddedPostgres(home, shelter=shelter).start()


@as_root
def test_programs_that_the_account_cannot_reach_are_copied_once(
    home: Home, ground: Path, closed: Path
) -> None:
    original = wheel_package()
    package = closed / PACKAGE
    shutil.copytree(original, package, symlinks=True)
    libraries = original.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    for path in package.rglob("*"):  # as a umask of 077 would have installed it
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    shelter = ground / "shelter"
    previous = os.umask(0o077)
    try:
        with EmbeddedPostgres(home, package=package, shelter=shelter) as server:
            program = Path(psutil.Process(server.pid).exe())
    finally:
        os.umask(previous)
    assert program.is_relative_to(shelter)
    assert mode(closed) == "0o700"
    before = program.stat()
    with EmbeddedPostgres(home, package=package, shelter=shelter) as server:
        assert Path(psutil.Process(server.pid).exe()).stat() == before
    assert [path.name.partition("-")[0] for path in shelter.iterdir()] == ["programs"]


@as_root
@linux
def test_a_user_who_is_not_root_needs_no_other_account(ground: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    mine = ground / "mine"
    mine.mkdir()
    os.chown(mine, nobody.pw_uid, nobody.pw_gid)
    home = Home(mine / "home")
    drop = f"setpriv --reuid={nobody.pw_uid} --regid={nobody.pw_gid} --clear-groups".split()
    # This interpreter may stand below a 0700 /root: reading is all that is granted.
    drop += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    owner = Owner(home, *drop)
    try:
        assert psutil.Process(owner.process.pid).uids().real == nobody.pw_uid
        assert psutil.Process(owner.server_pid).uids().real == nobody.pw_uid
        assert sql(read_dsn(home), "SELECT 1") == [1]
        assert [mode(home.root), mode(home.postgres)] == ["0o700"] * 2
    finally:
        owner.kill()
        eventually(lambda: not runs(owner.server_pid))
