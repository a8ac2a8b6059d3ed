"""How is one process kept running: started, watched, restarted, and ended with its brood?

One thread a child does everything to it, so nothing can signal a process that was already
collected, and the kernel's parent-death signal (which is tied to the thread that started
the process) comes when the whole owner dies and not before.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sidecar.core.errors import Unavailable
from sidecar.up import launch
from sidecar.up.child import STUBBORN, Child, Event, History, Kind, ending, ignore
from sidecar.up.files import open_log
from sidecar.up.groups import end, group_led_by
from sidecar.up.guard import Guard, Unguarded

log = logging.getLogger(__name__)

POLL_S = 0.1
GRACE_S = 15.0


class NotReady(Unavailable):
    """A child did not become ready."""


class Stopped(Unavailable):
    """The end was asked for before everything was ready."""


class Runner:
    """Keeps one child running until it is stopped.

    Args:
        child: What to run.
        on_event: Called from the runner's thread; it must be quick, and what it raises is
            logged and forgotten.
        guard: Told of the child's process group.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        child: Child,
        *,
        on_event: Callable[[Event], None] = ignore,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.child = child
        self.history = History()
        self.last_exit = ""  # in words
        self.pid: int | None = None  # None: not running just now
        self._on_event = on_event
        self._guard = guard or Unguarded()
        self._clock = clock
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._grace_s = GRACE_S
        self._thread = threading.Thread(
            target=self._keep_running, name=f"runner-{child.name}", daemon=True
        )

    @property
    def name(self) -> str:
        """The child's name."""
        return self.child.name

    def start(self) -> None:
        """Begin to keep the child running; does not wait for it."""
        self._thread.start()

    def wait_ready(self, limit_s: float) -> bool:
        """Wait until the child is ready; whether it is."""
        return self._ready.wait(limit_s)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End the child and everything in its process group, and wait until they are gone.

        Args:
            grace_s: From the child's stop signal to the SIGKILL.
        """
        self._grace_s = grace_s
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep_running(self) -> None:
        while not self._stopping.is_set():
            began = self._clock()
            code, reason = self._live_once()
            uptime_s = self._clock() - began
            if self._stopping.is_set():
                break
            self.history = self.history.after(code, uptime_s=uptime_s)
            self.last_exit = ending(code, reason)
            event = self._event(Kind.EXITED)
            self._report(replace(event, code=code, repeats=self.history.repeats, reason=reason))
            delay_s = self.history.delay_s
            self._report(replace(self._event(Kind.RESTARTING), delay_s=delay_s))
            self._stopping.wait(delay_s)
        self._report(self._event(Kind.STOPPED))

    def _live_once(self) -> tuple[int | None, str]:
        """Start the child and stay with it to its end: its code, or why it did not start."""
        try:
            if self.child.before is not None:
                self.child.before()
            process = self._spawn()
        except Exception as error:  # whatever it was, the next try may do better
            log.debug("%s could not be started", self.child.name, exc_info=True)
            return None, str(error)
        group = group_led_by(process.pid)
        self._guard.watch(process.pid)
        self.pid = process.pid
        self._report(replace(self._event(Kind.STARTED), pid=process.pid))
        while process.poll() is None and not self._stopping.wait(POLL_S):
            self._note_readiness()
        self._ready.clear()
        self.pid = None
        # Also when it ended by itself: its workers may live on and hold its port.
        first = self.child.stop_signal
        end([group], grace_s=self._grace_s, first=first, reap=process.poll)
        code = process.wait()
        self._guard.forget(process.pid)
        return code, ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        child = self.child
        account = "-" if child.account is None else "{}:{}".format(*child.account)
        with open_log(child.log_path) as output:
            return subprocess.Popen(  # noqa: S603 - the caller's program, never a shell
                [*launch_prefix(child.stop_signal), account, *child.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(child.environment),
                cwd=child.cwd,
                start_new_session=True,
            )

    def _note_readiness(self) -> None:
        if self._ready.is_set():
            return
        try:
            ready = self.child.ready is None or self.child.ready()
        except Exception:  # a probe may fail in any way, and then says "not yet"
            log.debug("probe of %s failed", self.child.name, exc_info=True)
            return
        if ready:
            self._ready.set()
            self._report(self._event(Kind.READY))

    def _event(self, kind: Kind) -> Event:
        return Event(self.child.name, kind, self.child.log_path)

    def _report(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # who watches must not end what is watched
            log.exception("the listener failed on: %s", event)


def wait_until_ready(
    runner: Runner, *, limit_s: float, stop: threading.Event | None = None
) -> bool:
    """Wait for a started runner's child to be ready.

    Args:
        runner: Started.
        limit_s: How long a child that lives may take.
        stop: Set by whoever wants to end the waiting.

    Returns:
        Whether it is ready; False only when `stop` was set.

    Raises:
        NotReady: It took too long, or exited `STUBBORN` times in the same way.
    """
    deadline = time.monotonic() + limit_s
    while not runner.wait_ready(POLL_S):
        if stop is not None and stop.is_set():
            return False
        if runner.history.repeats >= STUBBORN or time.monotonic() > deadline:
            msg = f"{_trouble(runner)}; its log: {runner.child.log_path}"
            raise NotReady(msg)
    return True


def launch_prefix(dies_by: signal.Signals) -> list[str]:
    """Begin a command that ends with the process that starts it (see `sidecar.up.launch`).

    What follows is the account (`-` or `uid:gid`), the program's path and its arguments.
    """
    owner, number = str(os.getpid()), str(int(dies_by))
    return [sys.executable, "-I", "-S", launch.__file__, owner, number]


def _trouble(runner: Runner) -> str:
    failures = runner.history.failures
    if not failures:
        return f"{runner.name} runs but is not ready"
    return f"{runner.name} failed {failures} times and last {runner.last_exit}"
