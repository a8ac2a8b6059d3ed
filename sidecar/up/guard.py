"""How does `signalops up` tell its keeper what to end should it die?

The owner's side of `sidecar.up.keeper`. A keeper that dies itself is replaced and told
everything again.
"""

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from sidecar.up.files import open_log

GOODBYE_WITHIN_S = 5.0


class Guard(Protocol):
    """Is told of every process group that starts or is gone."""

    def watch(self, pgid: int) -> None:
        """Take note of a group that started."""

    def forget(self, pgid: int) -> None:
        """Strike out a group that is gone."""


class Unguarded:
    """A guard for those who have none: what it is told is lost."""

    def watch(self, pgid: int) -> None:
        """Do nothing."""

    def forget(self, pgid: int) -> None:
        """Do nothing."""


class Keeper:
    """A running keeper process, as a context manager that closes it.

    Args:
        log_path: Where the keeper reports, in a directory that exists.
        grace_s: How long it lets groups end by themselves before it kills them.
    """

    def __init__(self, log_path: Path, *, grace_s: float = 10.0) -> None:
        self._log_path = log_path
        self._grace_s = grace_s
        self._lock = threading.Lock()  # runners tell it things from their own threads
        self._known: dict[int, None] = {}
        self._process = self._launch()

    @property
    def pid(self) -> int:
        """The keeper's process id."""
        return self._process.pid

    def watch(self, pgid: int) -> None:
        """Have the group ended should we die."""
        with self._lock:
            self._known[pgid] = None
            self._tell(f"+{pgid}\n")

    def forget(self, pgid: int) -> None:
        """Strike out a group that is gone."""
        with self._lock:
            self._known.pop(pgid, None)
            self._tell(f"-{pgid}\n")

    def ensure(self) -> None:
        """Replace the keeper if it died; call this now and then."""
        with self._lock:
            if self._process.poll() is not None:
                self._replace()

    def close(self) -> None:
        """Let the keeper go; what we were still to end, it ends."""
        with self._lock:
            if not self._known:
                with suppress(BrokenPipeError):
                    self._write("bye\n")
            self._hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:
            self._replace()

    def _write(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            raise BrokenPipeError
        pipe.write(line.encode())

    def _replace(self) -> None:
        """Start another keeper and tell it all; should that fail, `ensure` comes again."""
        self._hang_up()
        with suppress(OSError):
            self._process = self._launch()
            self._write("".join(f"+{pgid}\n" for pgid in self._known))

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_WITHIN_S)

    def _launch(self) -> subprocess.Popen[bytes]:
        # -P, or a file in the user's directory could stand in for a module it imports.
        command = [sys.executable, "-P", "-m", "sidecar.up.keeper", str(self._grace_s)]
        with open_log(self._log_path) as log:
            return subprocess.Popen(  # noqa: S603 - our own module, no foreign argument
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                bufsize=0,  # a line must be in the pipe before `watch` returns
                cwd="/",
                start_new_session=True,
            )
