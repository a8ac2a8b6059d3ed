"""When does a command that starts things end, and what does it say of what went wrong?"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sidecar.core.errors import SignalopsError, Unavailable

REFUSED = 2
UNREACHABLE = 3


@contextmanager
def session() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, and turn our errors into exit codes.

    Raises:
        SystemExit: Something of ours failed; the message is on stderr. The code is 0 when
            it failed because the user had asked for the end.
    """
    stop = threading.Event()
    was_asked = threading.Event()  # `stop` alone does not tell: who fails sets it, too

    def end(_number: int, _frame: FrameType | None) -> None:
        was_asked.set()
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except SignalopsError as error:
        # A part that was asked to end while it started fails to start: that is no news.
        if was_asked.is_set():
            raise SystemExit(0) from error
        sys.stderr.write(f"signalops: {error}\n")
        raise SystemExit(exit_code(error)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(error: SignalopsError) -> int:
    """Tell what may work later from what was refused."""
    return UNREACHABLE if isinstance(error, Unavailable) else REFUSED
