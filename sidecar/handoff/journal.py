"""How does a record survive the process that made it? Append-only segments on disk.

Written by a proxy worker, drained by a sidecar. A segment's writer holds its `flock`; a
segment nobody holds is complete, whoever died, and anyone may drain it.
"""

import errno
import fcntl
import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.core.errors import Unavailable

SUFFIX = ".jsonl"
SEGMENT_BYTES = 8 * 1024 * 1024  # small enough to be drained and deleted every few seconds
BACKLOG_BYTES = 64 * 1024 * 1024  # what one worker may owe to a full disk


class JournalFull(Unavailable):
    """The disk refused a line; it waits in memory and is tried again."""


class JournalLost(Unavailable):
    """The disk refused a line and the memory for waiting ones is full: it is gone."""


class Journal:
    """The writing end: one process's segments.

    A line is on its way to disk when `append` returns: killing the process loses
    nothing; a power cut loses what the kernel had not flushed, unless `fsync` is set.
    """

    def __init__(
        self,
        directory: Path,
        *,
        writer: str,
        segment_bytes: int = SEGMENT_BYTES,
        backlog_bytes: int = BACKLOG_BYTES,
        fsync: bool = False,
    ) -> None:
        """Prepare to write; the first segment is opened by the first line.

        Args:
            directory: Made when absent.
            writer: Names this process among all that ever write here, no `/` in it.
            segment_bytes: A segment is sealed once it is this long.
            backlog_bytes: How much may wait in memory while the disk refuses.
            fsync: Wait for the disk at every line (about 0.2 ms).
        """
        self._directory = directory
        self._writer = writer
        self._segment_bytes = segment_bytes
        self._backlog_bytes = backlog_bytes
        self._fsync = fsync
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._size = 0
        self._number = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    @property
    def backlog(self) -> int:
        """Lines that wait in memory for the disk."""
        return len(self._waiting)

    def append(self, line: bytes) -> None:
        """Write one line; the newline is added here.

        Raises:
            JournalFull: The disk refused; the line waits and will be tried again.
            JournalLost: The disk refused, and too much is waiting already.
        """
        with self._lock:
            try:
                self._write_waiting()
                self._write(line + b"\n")
            except OSError as error:
                self._keep(line + b"\n", error)

    def flush(self) -> int:
        """Try again to write what waits; returns how many lines were written."""
        with self._lock:
            before = len(self._waiting)
            with suppress(OSError):
                self._write_waiting()
            return before - len(self._waiting)

    def close(self) -> None:
        """Seal the present segment. Safe to call twice."""
        with self._lock:
            self._seal()

    def _keep(self, line: bytes, error: OSError) -> None:
        reason = errno.errorcode.get(error.errno or 0, "an unknown error")
        if self._waiting_bytes + len(line) > self._backlog_bytes:
            msg = f"the journal refused a line ({reason}) and {self.backlog} wait already"
            raise JournalLost(msg) from error
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        msg = f"the journal refused a line ({reason}); {self.backlog} wait in memory"
        raise JournalFull(msg) from error

    def _write_waiting(self) -> None:
        while self._waiting:
            self._write(self._waiting[0])
            self._waiting_bytes -= len(self._waiting.popleft())

    def _write(self, line: bytes) -> None:
        fd = self._fd if self._fd is not None else self._open()
        written = 0
        try:
            while written < len(line):
                written += os.write(fd, line[written:])
        except OSError:
            if written:
                self._undo(fd)
            raise
        self._size += len(line)
        if self._fsync:
            os.fdatasync(fd)
        if self._size >= self._segment_bytes:
            self._seal()

    def _undo(self, fd: int) -> None:
        """Take back half a line, so that the next one starts clean."""
        try:
            os.ftruncate(fd, self._size)
        except OSError:
            self._seal()  # the half line ends a sealed segment, where it is quarantined

    def _open(self) -> int:
        """Open the next segment, locked before anyone can see it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._number += 1
        final = self._directory / f"{self._writer}-{self._number:08d}{SUFFIX}"
        hidden = final.with_suffix(".new")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(hidden, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A reader takes an unlocked segment for complete, so the lock comes first.
            hidden.rename(final)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._size = fd, 0
        return fd

    def _seal(self) -> None:
        if self._fd is not None:
            os.close(self._fd)  # closing frees the lock, which seals the segment
            self._fd = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Complete lines of a segment.

    Args:
        lines: Without their newlines.
        end: Offset behind the last of them, in bytes.
        torn: A last line without a newline in a complete segment; None elsewhere.
        is_last: The segment is complete and this chunk ends it.
    """

    lines: tuple[bytes, ...]
    end: int
    torn: bytes | None
    is_last: bool


def segments(directory: Path) -> list[Path]:
    """List the segments, each writer's in the order of writing."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def read_chunk(segment: Path, *, start: int, max_bytes: int) -> Chunk:
    """Read complete lines from an offset on.

    Args:
        start: Where an earlier chunk ended, 0 for the first.
        max_bytes: About how much to read; a longer line is read whole.

    Raises:
        FileNotFoundError: Another drain has finished the segment.
    """
    with segment.open("rb") as file:
        # Asked before reading: what is complete now cannot grow while we read.
        complete = _is_complete(file.fileno())
        file.seek(start)
        data = file.read(max_bytes)
        if data and b"\n" not in data:
            data += file.readline()
        at_end = not file.read(1)
    cut = data.rfind(b"\n") + 1
    rest = data[cut:]
    is_last = complete and at_end
    return Chunk(
        lines=tuple(data[:cut].split(b"\n")[:-1]) if cut else (),
        end=start + (len(data) if is_last else cut),
        torn=rest if is_last and rest else None,
        is_last=is_last,
    )


def _is_complete(fd: int) -> bool:
    """Whether nobody writes the file any more."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
