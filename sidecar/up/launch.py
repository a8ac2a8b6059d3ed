"""Become another program: as another user if asked, and dying with whoever started it.

Run by file path, in isolated mode and without `site`, so that it starts in some 20 ms:

    python -I -S launch.py OWNER_PID SIGNAL ACCOUNT PROGRAM [ARGUMENT...]

`ACCOUNT` is `uid:gid` or `-`. A separate program rather than a `preexec_fn`, which may
deadlock in a process with threads. The order matters: the kernel forgets the wish to die
with the parent whenever credentials change, so it is made after dropping them, and it
survives the `exec` that follows. Elsewhere than on Linux there is no such wish; there the
keeper (`sidecar.up.keeper`) ends what is left.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
CANNOT_RUN = 127  # what a shell says, too


def main(arguments: list[str]) -> int:
    """Replace this process by the program; return only when that cannot be done."""
    owner, signal, account, *program = arguments
    try:
        if account != "-":
            _drop_to(account)
        if sys.platform == "linux":
            _die_with_parent(int(signal))
        if os.getppid() != int(owner):  # it died before we asked to be told
            return CANNOT_RUN
        os.execv(program[0], program)  # noqa: S606 - what a launcher is for
    except OSError as error:
        sys.stderr.write(f"cannot run {program[0]}: {error.strerror}\n")
    return CANNOT_RUN


def _drop_to(account: str) -> None:
    uid, gid = (int(part) for part in account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with_parent(signal: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
