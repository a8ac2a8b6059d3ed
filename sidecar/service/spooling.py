"""Where do lines wait when all of them must be written before the first may be sent?

In a file without a name: it is gone when it is closed, even by a kill.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO

from sidecar.core.errors import Unavailable
from sidecar.integrations import parquet

PIECE_BYTES = 1 << 20


async def spooled(
    pieces: AsyncIterator[bytes], columns: Mapping[str, str] | None = None
) -> BinaryIO:
    """Write pieces to a file, and make a table of them if there are columns.

    Returns:
        The file, at its beginning; who reads it closes it.

    Raises:
        Unavailable: What writes Parquet is, or there is no room on the disk.
    """
    try:
        return await _spooled(pieces, columns)
    except OSError as error:
        msg = f"an export cannot be prepared in {tempfile.gettempdir()}: {error.strerror}"
        raise Unavailable(msg) from error


async def _spooled(pieces: AsyncIterator[bytes], columns: Mapping[str, str] | None) -> BinaryIO:
    with tempfile.TemporaryDirectory(prefix="signalops-export-") as folder:
        lines, table = Path(folder, "lines"), Path(folder, "table")
        # Bytes on their way to the page cache: faster than handing each to a thread.
        with lines.open("wb") as file:  # noqa: ASYNC230
            async for piece in pieces:
                file.write(piece)
        if columns is None:
            return lines.open("rb")  # noqa: ASYNC230
        await parquet.write(lines, table, columns)
        return table.open("rb")  # noqa: ASYNC230


def size_of(file: BinaryIO) -> int:
    """Give a file's size in bytes."""
    return os.fstat(file.fileno()).st_size


async def read(file: BinaryIO) -> AsyncIterator[bytes]:
    """Read a file to its end, and close it."""
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
