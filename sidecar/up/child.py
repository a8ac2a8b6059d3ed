"""What is a child process of the stack, what happens to it, and when is it tried again?

Values only: who starts and watches one is `sidecar.up.runner`.
"""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0
STUBBORN = 5  # so many equal exits in a row are no accident


@dataclass(frozen=True, slots=True)
class Child:
    """What to run and how to know that it works.

    Secrets belong in `environment`: everyone on the machine can read `argv`.
    """

    name: str
    argv: tuple[str, ...]  # argv[0] is a path, not a name to be searched
    # All of it, nothing is inherited. Without a locale Python adds LC_CTYPE=C.UTF-8.
    environment: Mapping[str, str]
    log_path: Path
    cwd: Path = Path("/")
    ready: Callable[[], bool] | None = None  # None: ready once it has started
    before: Callable[[], None] | None = None  # called before every start
    account: tuple[int, int] | None = None  # uid and gid to drop to; needs root
    stop_signal: signal.Signals = signal.SIGTERM


class Kind(StrEnum):
    """What happened to a child."""

    STARTED = "started"
    READY = "ready"
    EXITED = "exited"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one child."""

    child: str
    kind: Kind
    log_path: Path
    pid: int | None = None
    code: int | None = None  # as subprocess has it: negative is the signal that ended it
    delay_s: float | None = None
    repeats: int = 0  # equal exits in a row, this one included
    reason: str = ""  # why it could not even be started

    def __str__(self) -> str:
        """Say it in a sentence for people."""
        match self.kind:
            case Kind.STARTED:
                return f"{self.child} started (pid {self.pid})"
            case Kind.READY:
                return f"{self.child} is ready"
            case Kind.EXITED:
                return f"{self.child} {ending(self.code, self.reason)}{self._insistence()}"
            case Kind.RESTARTING:
                return f"{self.child} is restarted in {self.delay_s:g} s"
            case Kind.STOPPED:
                return f"{self.child} stopped"

    def _insistence(self) -> str:
        if self.repeats < STUBBORN:
            return ""
        return f", {self.repeats} times in a row; its log: {self.log_path}"


@dataclass(frozen=True, slots=True)
class History:
    """What a child's past exits say about its next start."""

    failures: int = 0  # exits since it was last healthy
    repeats: int = 0  # equal exits in a row
    code: int | None = None

    def after(self, code: int | None, *, uptime_s: float) -> "History":
        """Add one exit; a minute of health forgives everything before it."""
        if uptime_s >= HEALTHY_AFTER_S:
            return History(failures=1, repeats=1, code=code)
        same = self.failures > 0 and code == self.code
        return History(self.failures + 1, self.repeats + 1 if same else 1, code)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next start."""
        # The exponent is bounded, or a child failing for days would overflow a float.
        return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self.failures - 1, 10))


def ignore(_event: Event) -> None:
    """Listen to nothing."""


def ending(code: int | None, reason: str) -> str:
    """Say in words how a process ended, or why it never began."""
    if code is None:
        return f"could not be started: {reason}"
    if code >= 0:
        return f"exited with code {code}"
    names = {int(number): number.name for number in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"
