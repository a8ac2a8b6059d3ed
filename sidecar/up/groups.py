"""Which processes of a process group still live, and how is all of a group ended?

A group rather than a process, because what we start has children of its own (a proxy with
two workers, for one) that outlive it when it is killed. Standard library only.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "self" / "stat").exists()
POLL_S = 0.05
KILLED_WITHIN_S = 5.0

# Where the fields of /proc/<pid>/stat stand once "pid (name)" is cut off.
STATE, PGRP, STARTED = 0, 2, 19


@dataclass(frozen=True, slots=True)
class Group:
    """A process group, told apart from a later one that got the same number."""

    pgid: int
    born: str | None  # when its leader started, in the kernel's ticks; None: not known


def group_led_by(pid: int) -> Group:
    """Name the group that the process `pid` leads."""
    fields = _stat(pid)
    return Group(pid, fields[STARTED] if fields else None)


def lives(group: Group) -> bool:
    """Say whether any process of the group still runs (a zombie does not).

    The kernel gives a number out again only once no process has it as its own or as its
    group's. So a leader with another start time means that all of the old group is gone,
    while no leader at all says nothing about the members.
    """
    if not HAS_PROC:
        return _signal(group.pgid, 0)
    leader = _stat(group.pgid)
    if leader and group.born is not None and leader[STARTED] != group.born:
        return False
    return any(_runs_in(fields, group.pgid) for fields in map(_stat, _pids()))


def end(
    groups: Iterable[Group],
    *,
    grace_s: float,
    first: signal.Signals = signal.SIGTERM,
    reap: Callable[[], object] = lambda: None,
) -> list[Group]:
    """Ask every process of the groups to end; kill what has not after `grace_s` seconds.

    Args:
        groups: Those already gone are left alone.
        grace_s: From the first signal to the SIGKILL.
        first: The signal that asks.
        reap: Called while waiting, to collect children of ours that have ended.

    Returns:
        The groups that had to be killed.
    """
    left = [group for group in groups if lives(group)]
    for group in left:
        _signal(group.pgid, first)
    left = _wait(left, grace_s, reap)
    for group in left:
        _signal(group.pgid, signal.SIGKILL)
    # What is killed needs a moment to go, unless it hangs in the kernel.
    _wait(left, KILLED_WITHIN_S, reap)
    return left


def _wait(groups: list[Group], limit_s: float, reap: Callable[[], object]) -> list[Group]:
    deadline = time.monotonic() + limit_s
    while True:
        reap()
        groups = [group for group in groups if lives(group)]
        if not groups or time.monotonic() >= deadline:
            return groups
        time.sleep(POLL_S)


def _signal(pgid: int, number: int) -> bool:
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses for zombies
        return False
    return True


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]  # noqa: PTH208 - many short names, often


def _runs_in(fields: list[str], pgid: int) -> bool:
    return bool(fields) and fields[PGRP] == str(pgid) and fields[STATE] not in "ZX"


def _stat(pid: int) -> list[str]:
    """Read what the kernel says of a process; empty when there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    # The name stands in parentheses and may itself hold blanks and parentheses.
    return text.rpartition(")")[2].split()
