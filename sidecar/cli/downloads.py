"""How does a file from the admin API get to the disk, whole or not at all?

It is written without a name where the system can, and takes its place only when every row
has come and is on the disk. What is interrupted leaves what was there before.
"""

import errno
import gzip
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from sidecar.cli.client import MISTYPED, TIMEOUT_S, UNREACHABLE, Api, find_key, stop

ROWS = "X-Signalops-Rows"
HELD_OUT = "X-Signalops-Held-Out"
PATIENCE_S = 1800.0  # a dataset is built, or a table prepared, before the first byte
_GZIP_LEVEL = 6
INTERRUPTED = 130  # as a shell says it of SIGINT

Progress = Callable[[int], None]
"""Told how many rows have come; of a table only when all have."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written.

    Args:
        size_bytes: Of what came, before it was compressed.
        held_out: Rows of the holdout that were left out; None if that is not told.
    """

    path: Path
    rows: int
    size_bytes: int
    held_out: int | None


class Downloads(Api):
    """The admin API, for what takes long: it is waited for, and comes as a file."""

    def save(
        self,
        path: str,
        target: Path,
        started: Callable[[int], Progress],
        **params: object,
    ) -> Saved:
        """Write what is sent to a file, compressed if its name ends in `.gz`.

        Args:
            started: Told how many rows there will be; gives what is told of each piece.
        """
        given = {name: str(value) for name, value in params.items() if value is not None}
        with (
            self._reached(),
            self._client() as client,
            client.stream("GET", self._url + path, params=given) as response,
        ):
            self._refuse(response)
            try:
                return _saved(response, target, started)
            except httpx.HTTPError as error:
                msg = f"the export broke off: {str(error) or type(error).__name__}"
                raise stop(msg, UNREACHABLE) from None

    def _refuse(self, response: httpx.Response) -> None:
        if response.is_success and ROWS in response.headers:
            return
        response.read()
        raise self._refusal(response, self._read(response))

    def _client(self) -> httpx.Client:
        return httpx.Client(
            headers={**self._headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(TIMEOUT_S, read=PATIENCE_S),
            trust_env=self._trust_env,
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        with super()._reached():
            try:
                yield
            except KeyboardInterrupt:
                msg = "interrupted before it was done; no file was written"
                raise stop(msg, INTERRUPTED) from None


def patient(url: str) -> Downloads:
    """Reach the API as `client.connect` does, and wait longer."""
    return Downloads(url, find_key(os.environ, Path.home()))


def _saved(response: httpx.Response, target: Path, started: Callable[[int], Progress]) -> Saved:
    expected = int(response.headers[ROWS])
    held_out = response.headers.get(HELD_OUT)
    progress = started(expected)
    # A table's rows cannot be counted on the way; it is whole if all of its bytes came.
    is_table = "parquet" in response.headers.get("content-type", "")
    rows = size = 0
    with _told(target), placed(target) as file:
        for piece in response.iter_bytes():
            file.write(piece)
            size += len(piece)
            rows += 0 if is_table else piece.count(b"\n")
            progress(rows)
        rows = expected if is_table else rows
        if rows != expected:
            msg = f"the export is not whole: {rows} rows of {expected} came"
            raise stop(msg, UNREACHABLE)
        progress(rows)
    return Saved(target, rows, size, None if held_out is None else int(held_out))


@contextmanager
def placed(target: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Open a file that takes its place at the end of the block, if nothing was raised.

    Whatever was there is replaced at once. The same bytes give the same file, compressed or
    not: no time and no name are written into it.

    Raises:
        OSError: It cannot be written there.
    """
    target = Path(os.path.realpath(target))
    mode = _mode_of(target)
    hidden = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.part")
    with ExitStack() as stack:
        file, is_named = _begin(hidden)
        stack.callback(hidden.unlink, missing_ok=True)
        stack.enter_context(file)
        if target.name.endswith(".gz"):
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
                yield packed
        else:
            yield file
        file.flush()
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
        if not is_named:
            # With a descriptor, for only then is the link to the open file followed.
            os.link(f"/proc/self/fd/{file.fileno()}", hidden, src_dir_fd=file.fileno())
        hidden.replace(target)
    with suppress(PermissionError):  # of a folder that may be written and not listed
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the name may be lost with the power
        finally:
            os.close(folder)


def check_place(target: Path) -> None:
    """Refuse where no file can be written, before anything is asked for that takes long."""
    with _told(target):
        place = Path(os.path.realpath(target))
        _mode_of(place)
        hidden = place.with_name(f".{secrets.token_hex(6)}.part")
        file, is_named = _begin(hidden)
        file.close()
        if is_named:
            hidden.unlink()


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{target} cannot be written: {error.strerror or error}"
        raise stop(msg, MISTYPED) from None


def _mode_of(target: Path) -> int | None:
    """Give the permissions of the file that will be replaced; None when there is none.

    Raises:
        OSError: It is no file but a directory, a device or a pipe.
    """
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        kind = errno.EISDIR if stat.S_ISDIR(found) else errno.EINVAL
        what = os.strerror(errno.EISDIR) if stat.S_ISDIR(found) else "it is no regular file"
        raise OSError(kind, what)
    return stat.S_IMODE(found)


def _begin(hidden: Path) -> tuple[BinaryIO, bool]:
    """Open a file without a name, or, where there are none, with a hidden one."""
    if hasattr(os, "O_TMPFILE"):
        try:
            descriptor = os.open(hidden.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
            return os.fdopen(descriptor, "wb"), False
        except OSError:
            pass  # this file system has none; what else is wrong is seen next
    return hidden.open("xb"), True
