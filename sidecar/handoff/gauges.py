"""How is each proxy worker doing? A page of numbers that outlives its process.

A worker counts in a memory-mapped file, so a count costs no system call and is still
there after `kill -9`; it holds the file's `flock`, so whoever reads knows if it lives.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIELDS = (
    "generation",  # of the routing table in use
    "decided",  # requests given an arm
    "finished",  # calls whose end was seen: answered, failed or broken off
    "journalled",  # records the journal took
    "waiting",  # records in memory, because the disk refuses
    "lost",  # records given up, because too many wait
    "unapplied",  # deployments of the routing table that the router would not take
    "errors",  # exceptions of ours that were kept from a client
    "traceless",  # calls that leave no trace should the worker be killed: too many at once
)
SUFFIX = ".gauges"
_HEADER = struct.Struct("<8sQQ")  # magic, pid, start in ns since the epoch
_MAGIC = b"sogauge1"
_SIZE = 4096  # a page


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker last said of itself.

    Args:
        values: By the names in `FIELDS`.
        alive: Whether its process still runs.
        started_ns: Nanoseconds since the epoch.
    """

    writer: str
    pid: int
    started_ns: int
    alive: bool
    values: Mapping[str, int]


class Gauges:
    """The writing end: one worker's numbers."""

    def __init__(self, directory: Path, *, writer: str, pid: int, started_ns: int) -> None:
        """Lay the page; when the disk refuses, count in memory, seen by nobody else."""
        self._index = {name: place for place, name in enumerate(FIELDS)}
        self._fd: int | None = None
        page = _HEADER.pack(_MAGIC, pid, started_ns).ljust(_SIZE, b"\0")
        try:
            memory = self._map(directory, writer, page)
        except OSError:
            memory = mmap.mmap(-1, _SIZE)
        end = _HEADER.size + 8 * len(FIELDS)
        self._values = memoryview(memory)[_HEADER.size : end].cast("Q")

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        self._values[self._index[name]] += count

    def set(self, name: str, value: int) -> None:
        """State a level."""
        self._values[self._index[name]] = value

    def value(self, name: str) -> int:
        """Read one number back."""
        return self._values[self._index[name]]

    def _map(self, directory: Path, writer: str, page: bytes) -> mmap.mmap:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = directory / f"{writer}.new"
        fd = os.open(hidden, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Written whole: touching a page the disk has no room for would be a SIGBUS.
            os.write(fd, page)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(directory / f"{writer}{SUFFIX}")
            memory = mmap.mmap(fd, _SIZE)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd  # kept open: closing it would free the lock
        return memory


def read_workers(directory: Path) -> list[WorkerReport]:
    """Read every worker's page, the living and the dead, oldest first."""
    found = [_read(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    return sorted((r for r in found if r is not None), key=lambda report: report.started_ns)


def forget(directory: Path, writer: str) -> None:
    """Remove a dead worker's page, once its numbers are kept elsewhere."""
    (directory / f"{writer}{SUFFIX}").unlink(missing_ok=True)


def _read(path: Path) -> WorkerReport | None:
    """Read one page; None when it is gone or is no page of ours."""
    try:
        with path.open("rb") as file:
            alive = _is_held(file.fileno())
            page = file.read(_SIZE)
    except FileNotFoundError:
        return None
    if len(page) < _SIZE or not page.startswith(_MAGIC):
        return None
    _, pid, started_ns = _HEADER.unpack_from(page)
    numbers = struct.unpack_from(f"<{len(FIELDS)}Q", page, _HEADER.size)
    values = dict(zip(FIELDS, numbers, strict=True))
    return WorkerReport(path.name.removesuffix(SUFFIX), pid, started_ns, alive, values)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
