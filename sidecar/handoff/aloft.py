"""Which calls were under way when a proxy worker died? A page of slots that outlives it.

A worker puts a stamp of each call it begins into a slot of a memory-mapped file, and clears
the slot when the record of the call is journalled. That costs no system call, and the slots
are still there after `kill -9`: what is in them then had no end that anyone recorded.
"""

import fcntl
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".aloft"
SLOTS = 1024  # calls under way at once, in one worker, that leave a trace
SLOT_BYTES = 1024  # a stamp has some 450, and a unit's id up to 256 characters
_HEADER = struct.Struct("<8sIIQQ")  # magic, slots, bytes of a slot, last beat, is dealt with
_NUMBER = struct.Struct("<Q")
_BEAT_AT = _HEADER.size - 2 * _NUMBER.size  # nanoseconds since the epoch
_DEALT_WITH_AT = _HEADER.size - _NUMBER.size  # 1 when the sidecar has journalled the slots
_LENGTH = struct.Struct("<I")  # before a stamp; 0 in a free slot
_MAGIC = b"soaloft1"
_PAGE = 4096  # the header's, so that slots do not lie across pages


class Aloft:
    """The writing end: the calls one worker has under way. For one thread alone."""

    def __init__(
        self, directory: Path, *, writer: str, started_ns: int, slots: int = SLOTS
    ) -> None:
        """Lay the slots; when the disk refuses, keep them in memory, seen by nobody else.

        Args:
            directory: Made when absent.
            writer: Names this process among all that ever write here, no `/` in it.
            started_ns: Nanoseconds since the epoch.
        """
        header = _HEADER.pack(_MAGIC, slots, SLOT_BYTES, started_ns, 0)
        size = _PAGE + slots * SLOT_BYTES
        self._fd: int | None = None
        try:
            self._memory = self._map(directory, writer, header.ljust(size, b"\0"))
        except OSError:
            self._memory = mmap.mmap(-1, size)
        self._free = [_PAGE + number * SLOT_BYTES for number in reversed(range(slots))]
        self._taken: OrderedDict[str, int] = OrderedDict()

    def stamp(self, call_id: str, stamp: bytes) -> bool:
        """Note that a call has begun.

        Returns:
            Whether every call is noted: False when this stamp is too long, or when it took
            the slot of the oldest call, because none was free.
        """
        if len(stamp) > SLOT_BYTES - _LENGTH.size:
            return False
        is_room = bool(self._free)
        place = self._free.pop() if is_room else self._taken.popitem(last=False)[1]
        memory, start = self._memory, place + _LENGTH.size
        # The length last, and 0 until then: whenever we are killed, a slot is whole or free.
        _LENGTH.pack_into(memory, place, 0)
        memory[start : start + len(stamp)] = stamp
        _LENGTH.pack_into(memory, place, len(stamp))
        self._taken[call_id] = place
        return is_room

    def clear(self, call_id: str) -> None:
        """Note that a call's end is recorded; one that is not noted is fine."""
        place = self._taken.pop(call_id, None)
        if place is not None:
            _LENGTH.pack_into(self._memory, place, 0)
            self._free.append(place)

    def beat(self, now_ns: int) -> None:
        """Give a sign of life.

        Args:
            now_ns: Nanoseconds since the epoch.
        """
        _NUMBER.pack_into(self._memory, _BEAT_AT, now_ns)

    def _map(self, directory: Path, writer: str, content: bytes) -> mmap.mmap:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = directory / f"{writer}{SUFFIX}.new"
        fd = os.open(hidden, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Written whole: touching a page the disk has no room for would be a SIGBUS.
            _write(fd, content)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(directory / f"{writer}{SUFFIX}")
            memory = mmap.mmap(fd, len(content))
        except OSError:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        self._fd = fd  # kept open: closing it would free the lock
        return memory


@dataclass(frozen=True, slots=True)
class LeftAloft:
    """What a dead worker left.

    Args:
        stamps: Of the calls whose end nobody recorded, as they were put down.
        seen_ns: Its last sign of life, in nanoseconds since the epoch.
        is_journalled: A sidecar has journalled them on its behalf.
    """

    writer: str
    stamps: tuple[bytes, ...]
    seen_ns: int
    is_journalled: bool = False


def writers(directory: Path) -> list[str]:
    """Name the workers whose slots are there, the living and the dead."""
    return sorted(path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}"))


@contextmanager
def take_over(directory: Path, writer: str) -> Iterator[LeftAloft | None]:
    """Hold what a dead worker left, so that nobody else deals with it meanwhile.

    Gives None when the worker lives, when another holds it, and when it is gone.
    """
    try:
        fd = os.open(directory / f"{writer}{SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Deleted between opening and locking: whoever did has dealt with it.
        yield _read(fd, writer) if os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)  # frees the lock


def mark_journalled(directory: Path, writer: str) -> None:
    """Note that a dead worker's slots are journalled; to be called while they are held."""
    fd = os.open(directory / f"{writer}{SUFFIX}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, _NUMBER.pack(1), _DEALT_WITH_AT)
    finally:
        os.close(fd)


def forget(directory: Path, writer: str) -> None:
    """Remove what a dead worker left, once it is dealt with."""
    (directory / f"{writer}{SUFFIX}").unlink(missing_ok=True)


def write_segment(directory: Path, name: str, lines: Sequence[bytes]) -> None:
    """Journal lines on behalf of the dead: the segment is there whole, or not at all.

    Args:
        name: Of the segment, which must be in no other use.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = directory / f"{name}.left"
    fd = os.open(hidden, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        _write(fd, b"".join(line + b"\n" for line in lines))
    finally:
        os.close(fd)
    hidden.rename(directory / name)


def _write(fd: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(fd, content[written:])


def _read(fd: int, writer: str) -> LeftAloft:
    """Read the slots that are taken; none of a file that is no page of ours."""
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    if len(content) < _PAGE or not content.startswith(_MAGIC):
        return LeftAloft(writer, (), 0)
    _, slots, slot_bytes, seen_ns, journalled = _HEADER.unpack_from(content)
    stamps = []
    for place in range(_PAGE, min(_PAGE + slots * slot_bytes, len(content)), slot_bytes or 1):
        (length,) = _LENGTH.unpack_from(content, place)
        if 0 < length <= slot_bytes - _LENGTH.size:
            start = place + _LENGTH.size
            stamps.append(content[start : start + length])
    return LeftAloft(writer, tuple(stamps), seen_ns, bool(journalled))
