"""What ends the stack's processes when `signalops up` itself was killed with `kill -9`?

This process, `python -m sidecar.up.keeper GRACE_S`. It reads one line a time from its
owner (`sidecar.up.guard`):

    +PGID   a process group was started
    -PGID   it is gone
    bye     the owner has ended everything itself

When the pipe closes without `bye`, the owner is dead: every group still known is asked to
end, and killed if it has not after `GRACE_S` seconds. Groups and not the kernel's
parent-death signal, because that one reaches a process but not the workers it started.

It stands in a session of its own and ignores the signals a terminal sends, so that it is
the last to go. Standard library only: it starts fast and stays small.
"""

import os
import re
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

from sidecar.up.groups import Group, end, group_led_by

BYE = b"bye\n"
# A line cut short by the owner's death could name another group: hence the "\n".
LINE = re.compile(rb"([+-])([1-9][0-9]*)\n")


def follow(lines: Iterable[bytes]) -> list[Group]:
    """Read the owner's lines to the end.

    Returns:
        The groups it left behind; none if it said `bye`.
    """
    known: dict[int, Group] = {}
    for line in lines:
        if line == BYE:
            return []
        match = LINE.fullmatch(line)
        if match is None:
            sys.stderr.write(f"keeper: ignored {line!r}\n")
            continue
        pgid = int(match[2])
        if match[1] == b"-":
            known.pop(pgid, None)
        elif pgid not in {1, os.getpgrp()}:
            known[pgid] = group_led_by(pgid)
    return list(known.values())


def main(arguments: list[str]) -> None:
    """Wait for the owner's end, then end what it left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with suppress(PermissionError):  # we lead a session already
        os.setsid()
    left = follow(sys.stdin.buffer)
    if not left:
        return
    numbers = sorted(group.pgid for group in left)
    sys.stderr.write(f"keeper: signalops is gone; ending the process groups {numbers}\n")
    killed = end(left, grace_s=float(arguments[0]))
    sys.stderr.write(f"keeper: done, {len(killed)} of {len(left)} had to be killed\n")


if __name__ == "__main__":
    main(sys.argv[1:])
