"""Where do lines go that become no row? Into a file beside the journal, whole.

One file for each chunk that had some, JSON a line: why it was put aside, and the line.
`line.encode("utf-8", "surrogateescape")` gives its bytes back, whatever they were.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from sidecar.core.errors import Unavailable
from sidecar.service.lines import BadLine


class QuarantineRefused(Unavailable):
    """The disk does not take a line that must be put aside; its segment has to wait."""


def put_aside(directory: Path, segment: str, start: int, bad: Sequence[BadLine]) -> None:
    """Write the bad lines of a chunk and wait for the disk.

    The file is named by where the chunk starts, so a chunk that is drained again, because
    its transaction was lost, replaces what it wrote.

    Raises:
        QuarantineRefused: The disk does not take it.
    """
    final = directory / f"{segment}.{start:012d}.jsonl"
    unfinished = final.with_suffix(".new")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.writelines(_entry(line) for line in bad)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(final)
        _sync_directory(directory)
    except OSError as error:
        msg = f"the quarantine {directory} cannot be written: {error.strerror}"
        raise QuarantineRefused(msg) from error


def _entry(bad: BadLine) -> bytes:
    line = bad.line.decode("utf-8", "surrogateescape")
    return json.dumps({"reason": bad.reason, "line": line}).encode() + b"\n"


def _sync_directory(directory: Path) -> None:
    """Make the new name itself last through a power cut."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
