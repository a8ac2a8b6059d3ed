"""How does the stack write what nobody else may read, and who owns a directory?

Secrets are created 0600, never created and then tightened, and appear whole or not at all.
Ownership is an exclusive `flock`: the kernel gives it back however its holder ends, so there
is no stale lock to clean up.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sidecar.core.errors import Conflict, Invalid

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
OTHERS = 0o077
MAX_LOG_BYTES = 20 * 1024 * 1024


class Held(Conflict):
    """Another process holds the lock."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path = path
        self.pid = pid  # None: the holder has not written it yet
        super().__init__(f"{path} is held by {self.holder}")

    @property
    def holder(self) -> str:
        """Name the holding process as well as it is known."""
        return "another process" if self.pid is None else f"process {self.pid}"


def write_private(path: Path, text: str) -> None:
    """Write a 0600 file in one step: readers see the old content or the new, never half.

    A symbolic link is followed, so a linked file stays linked.
    """
    path = path.resolve()
    # mkstemp opens with O_EXCL and 0600, whatever the umask.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def tighten(path: Path) -> bool:
    """Take a secret file away from group and world.

    Returns:
        Whether it was open to them.
    """
    if not path.stat().st_mode & OTHERS:
        return False
    path.chmod(PRIVATE_FILE)
    return True


def private_dir(path: Path) -> None:
    """Create a 0700 directory; one that exists stays as it is, for it may be a mount.

    Raises:
        Invalid: Something else has that name, or it may not be created.
    """
    try:
        path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except FileExistsError as error:
        msg = f"{path} is a file; a directory is needed there"
        raise Invalid(msg) from error
    except OSError as error:
        msg = f"cannot create the directory {path}: {error.strerror}"
        raise Invalid(msg) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold an exclusive lock with our pid written in it, until the block or process ends.

    The file stays when the lock goes: removing it would let two processes lock two files
    of one name.

    Raises:
        Held: Another process, or another part of this one, has it.
        Invalid: The file cannot be opened, for one because another user owns it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        msg = f"cannot open the lock file {path}: {error.strerror}"
        raise Invalid(msg) from error
    with os.fdopen(handle, "r+b", buffering=0) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(path, _pid_in(lock)) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
        yield


def open_log(path: Path) -> BinaryIO:
    """Open a 0600 log for appending; one that grew too big is kept once as `<name>.1`."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, PRIVATE_FILE), "ab", buffering=0)


def _pid_in(lock: BinaryIO) -> int | None:
    text = lock.read(32).strip()
    return int(text) if text.isdigit() else None
