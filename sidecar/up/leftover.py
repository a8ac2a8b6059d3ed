"""What did a dead owner's PostgreSQL leave behind, and how does the next one get past it?"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sidecar.up.groups import HAS_PROC, POLL_S, PROC


def end_leftover(data: Path) -> None:
    """Deal with the pid file of a server whose owner is dead. Only its new owner may.

    A server that still runs is ended. A pid that now belongs to some other process (a
    container that starts anew reuses small numbers) or to a zombie would make PostgreSQL
    refuse to start for ever. The file is then not removed, for it also tells PostgreSQL
    how to find surviving back ends, which must not meet a second server; our own pid is
    put into it, because PostgreSQL knows that its parent is no server.
    """
    path = data / "postmaster.pid"
    try:
        first, _, rest = path.read_text().partition("\n")
    except FileNotFoundError:
        return
    if not first.strip().isdigit():  # cut short by a crash before there were back ends
        path.unlink()
        return
    pid = int(first)
    for number, limit_s in ((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        if not _is_server(pid, data):
            break
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        _wait_while(lambda: _is_server(pid, data), limit_s)
    if path.exists() and _exists(pid):
        path.write_text(f"{os.getpid()}\n{rest}")


def _is_server(pid: int, data: Path) -> bool:
    """Say whether a process is the server of `data`; a zombie is not."""
    if HAS_PROC:
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"/postgres") and os.fsencode(data) in words
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return "/postgres -D " in said.stdout and str(data) in said.stdout


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait_while(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)
