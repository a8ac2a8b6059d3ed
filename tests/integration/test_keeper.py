import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sidecar.up.groups import HAS_PROC, Group, end, group_led_by, lives
from sidecar.up.guard import Keeper
from tests.processes import (
    DEADLINE_S,
    DEAF,
    MILD,
    PYTHON,
    eventually,
    has,
    leader,
    runs,
    workers_in,
)

# What happens at the owner's death is the question, so the owner is a process of its own.
OWNER = """
import signal, sys, threading
from pathlib import Path
from sidecar.up.child import Child
from sidecar.up.guard import Keeper
from sidecar.up.supervisor import Supervisor

logs, with_keeper, *argv = sys.argv[1:]
logs = Path(logs)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
keeper = Keeper(logs / "keeper.log", grace_s=1) if with_keeper == "keeper" else None
environment = {"PATH": "/usr/bin:/bin"}
with Supervisor(stop, keeper=keeper, grace_s=1) as supervisor:
    supervisor.launch(Child("proxy", tuple(argv), environment, logs / "proxy.log"))
    print(keeper.pid if keeper else 0, flush=True)
    supervisor.wait()
if keeper:
    keeper.close()
"""


class Owner:
    """A process that runs a supervisor over one leader with two workers."""

    def __init__(self, logs: Path, worker: str, *, keeper: bool = True) -> None:
        arguments = [str(logs), "keeper" if keeper else "alone", *leader(worker)]
        self.process = subprocess.Popen(
            [PYTHON, "-c", OWNER, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.keeper_pid = int(self.process.stdout.readline())
        log = logs / "proxy.log"
        eventually(has(log, "up "))
        self.workers = workers_in(log)
        self.leader = os.getpgid(self.workers[0])
        assert all(runs(pid) for pid in self.everyone)

    @property
    def everyone(self) -> list[int]:
        return [self.leader, *self.workers]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.leader, signal.SIGKILL)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process group that nobody asked us to end."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=[MILD, DEAF], ids=["ends when asked", "has to be killed"])
def owner(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Owner]:
    owner = Owner(tmp_path, request.param)
    yield owner
    owner.close()


def test_the_keeper_ends_leader_and_workers_when_the_owner_is_killed(
    owner: Owner, tmp_path: Path
) -> None:
    owner.kill()
    eventually(lambda: not any(runs(pid) for pid in [*owner.everyone, owner.keeper_pid]))
    said = (tmp_path / "keeper.log").read_text()
    assert f"ending the process groups [{owner.leader}]" in said


def test_the_keeper_ends_workers_whose_leader_died_with_the_owner(owner: Owner) -> None:
    os.kill(owner.process.pid, signal.SIGSTOP)  # so that it cannot see its leader die
    os.kill(owner.leader, signal.SIGKILL)
    owner.kill()
    eventually(lambda: not any(runs(pid) for pid in [*owner.workers, owner.keeper_pid]))


def test_the_keeper_outlives_the_signals_of_a_terminal(owner: Owner) -> None:
    assert os.getsid(owner.keeper_pid) == owner.keeper_pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(owner.keeper_pid, number)
    owner.kill()
    eventually(lambda: not any(runs(pid) for pid in owner.everyone))


def test_a_killed_keeper_is_replaced_and_told_everything(owner: Owner) -> None:
    os.kill(owner.keeper_pid, signal.SIGKILL)
    process = psutil.Process(owner.process.pid)

    def keepers() -> list[int]:
        with suppress(psutil.NoSuchProcess):
            found = process.children()
            return [one.pid for one in found if "sidecar.up.keeper" in one.cmdline()]
        return []

    eventually(lambda: len(set(keepers()) - {owner.keeper_pid}) == 1)
    owner.kill()
    eventually(lambda: not any(runs(pid) for pid in owner.everyone))


def test_an_orderly_end_needs_no_keeper(owner: Owner, tmp_path: Path) -> None:
    owner.process.terminate()
    assert owner.process.wait(DEADLINE_S) == 0
    assert not any(runs(pid) for pid in [*owner.everyone, owner.keeper_pid])
    assert (tmp_path / "keeper.log").read_text() == ""


def test_a_keeper_closed_too_early_ends_what_is_left(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with Keeper(tmp_path / "keeper.log", grace_s=1) as keeper:
        keeper.watch(left.pid)
        keeper.watch(stranger.pid)
        keeper.forget(stranger.pid)
    assert left.wait(DEADLINE_S) == -signal.SIGTERM
    assert runs(stranger.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of this")
def test_a_leader_dies_with_its_owner_even_without_a_keeper(tmp_path: Path) -> None:
    owner = Owner(tmp_path, MILD, keeper=False)
    try:
        owner.kill()
        eventually(lambda: not runs(owner.leader))
    finally:
        owner.close()


@pytest.mark.skipif(not HAS_PROC, reason="start times are read from /proc")
def test_a_later_group_of_the_same_number_is_left_alone(
    stranger: subprocess.Popen[bytes],
) -> None:
    earlier = Group(stranger.pid, born="1")
    assert not lives(earlier)
    assert end([earlier], grace_s=0.1) == []
    assert runs(stranger.pid)
    assert lives(group_led_by(stranger.pid))


def test_the_keeper_loads_nothing_but_the_standard_library() -> None:
    script = """
        import sys
        before = set(sys.modules)
        import sidecar.up.keeper
        loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(sorted(loaded - sys.stdlib_module_names))
    """
    told = subprocess.run(
        [PYTHON, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "['sidecar']"
