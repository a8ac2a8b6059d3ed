import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sidecar.core.errors import Unavailable
from sidecar.up.child import Child, Event, Kind
from sidecar.up.runner import NotReady, Runner
from sidecar.up.supervisor import Supervisor
from tests.processes import DEAF, MILD, eventually, has, leader, runs, workers_in

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


class Diary:
    """Remembers every event and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def wait_for(self, kind: Kind, times: int = 1) -> Event:
        eventually(lambda: len(self.of(kind)) >= times)
        return self.of(kind)[times - 1]


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def supervisor(diary: Diary) -> Iterator[Supervisor]:
    with Supervisor(threading.Event(), on_event=diary, grace_s=10) as supervisor:
        yield supervisor


def child(tmp_path: Path, name: str, *argv: str) -> Child:
    return Child(name, argv, ENVIRONMENT, tmp_path / f"{name}.log")


def test_a_killed_child_is_started_again(
    supervisor: Supervisor, diary: Diary, tmp_path: Path
) -> None:
    assert supervisor.launch(child(tmp_path, "proxy", "/bin/sleep", "600"))
    first = diary.wait_for(Kind.STARTED).pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = diary.wait_for(Kind.STARTED, times=2).pid
    diary.wait_for(Kind.READY, times=2)
    assert second not in {None, first}
    assert diary.of(Kind.EXITED)[0].code == -signal.SIGKILL
    assert [event.kind for event in diary.events] == [
        Kind.STARTED, Kind.READY, Kind.EXITED, Kind.RESTARTING, Kind.STARTED, Kind.READY,
    ]  # fmt: skip


def test_workers_of_a_killed_leader_are_ended_before_the_next_start(
    supervisor: Supervisor, diary: Diary, tmp_path: Path
) -> None:
    proxy = child(tmp_path, "proxy", *leader())
    supervisor.launch(proxy)
    eventually(has(proxy.log_path, "up "))
    orphans = workers_in(proxy.log_path)
    os.kill(diary.of(Kind.STARTED)[0].pid or 0, signal.SIGKILL)
    diary.wait_for(Kind.EXITED)
    assert [pid for pid in orphans if runs(pid)] == []
    diary.wait_for(Kind.STARTED, times=2)


@pytest.mark.parametrize("worker", [MILD, DEAF], ids=["ends when asked", "has to be killed"])
def test_the_end_leaves_no_process_behind(tmp_path: Path, diary: Diary, worker: str) -> None:
    proxy = child(tmp_path, "proxy", *leader(worker))
    with Supervisor(threading.Event(), on_event=diary, grace_s=1) as supervisor:
        supervisor.launch(proxy)
        eventually(has(proxy.log_path, "up "))
        all_of_it = [diary.of(Kind.STARTED)[0].pid or 0, *workers_in(proxy.log_path)]
        assert all(runs(pid) for pid in all_of_it)
    assert [pid for pid in all_of_it if runs(pid)] == []
    ours = psutil.Process().children()
    assert [one for one in ours if one.status() == psutil.STATUS_ZOMBIE] == []
    assert diary.events[-1].kind is Kind.STOPPED


def test_children_end_in_the_reverse_order_of_their_start(tmp_path: Path, diary: Diary) -> None:
    with Supervisor(threading.Event(), on_event=diary) as supervisor:
        for name in ("postgres", "sidecar", "proxy"):
            supervisor.launch(child(tmp_path, name, "/bin/sleep", "600"))
    assert [one.child for one in diary.of(Kind.READY)] == ["postgres", "sidecar", "proxy"]
    assert [one.child for one in diary.of(Kind.STOPPED)] == ["proxy", "sidecar", "postgres"]


def test_what_runs_already_can_be_adopted_and_is_ended_in_its_turn(
    tmp_path: Path, diary: Diary
) -> None:
    runner = Runner(child(tmp_path, "postgres", "/bin/sleep", "600"), on_event=diary)
    runner.start()
    with Supervisor(threading.Event(), on_event=diary) as supervisor:
        supervisor.adopt(runner)
        supervisor.launch(child(tmp_path, "proxy", "/bin/sleep", "600"))
    assert [one.child for one in diary.of(Kind.STOPPED)] == ["proxy", "postgres"]


def test_a_child_is_ready_when_its_probe_says_so_and_a_failing_probe_says_no(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    answers = iter([ValueError("no such key"), ConnectionError("refused"), None])

    def probe() -> bool:
        answer = next(answers)
        if answer is not None:
            raise answer
        return True

    slow = Child("api", ("/bin/sleep", "600"), ENVIRONMENT, tmp_path / "api.log", ready=probe)
    assert supervisor.launch(slow)
    assert list(answers) == []


def test_a_child_that_always_exits_is_retried_and_its_log_named(
    supervisor: Supervisor, diary: Diary, tmp_path: Path
) -> None:
    broken = Child(
        "proxy",
        ("/bin/sh", "-c", "echo port in use; exit 3"),
        ENVIRONMENT,
        tmp_path / "proxy.log",
        ready=lambda: False,
    )
    with pytest.raises(NotReady, match="failed 5 times and last exited with code 3") as told:
        supervisor.launch(broken)
    assert isinstance(told.value, Unavailable)
    assert str(broken.log_path) in str(told.value)
    assert broken.log_path.read_text().count("port in use") == 5
    exits = diary.of(Kind.EXITED)
    assert [one.repeats for one in exits] == [1, 2, 3, 4, 5]
    assert str(broken.log_path) not in str(exits[3])
    assert str(broken.log_path) in str(exits[4])
    # It goes on trying, on doubling delays.
    assert diary.wait_for(Kind.RESTARTING, times=5).delay_s == 8


def test_a_child_that_lives_but_is_never_ready_is_reported(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    mute = Child(
        "api", ("/bin/sleep", "600"), ENVIRONMENT, tmp_path / "api.log", ready=lambda: False
    )
    with pytest.raises(NotReady, match="api runs but is not ready"):
        supervisor.launch(mute, ready_within_s=0.5)


def test_waiting_for_readiness_ends_when_everything_is_to_end(tmp_path: Path) -> None:
    stop = threading.Event()

    def probe() -> bool:
        stop.set()
        return False

    one = Child("api", ("/bin/sleep", "600"), ENVIRONMENT, tmp_path / "api.log", ready=probe)
    with Supervisor(stop) as supervisor:
        assert not supervisor.launch(one)
        supervisor.wait()


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (("/no/such/program",), "/", ""),
        (("/bin/sleep", "1"), "/no/such/directory", "No such file or directory"),
    ],
    ids=["no such program", "no such directory"],
)
def test_what_cannot_be_started_is_reported_and_tried_again(
    tmp_path: Path, diary: Diary, argv: tuple[str, ...], cwd: str, reason: str
) -> None:
    one = Child("proxy", argv, ENVIRONMENT, tmp_path / "proxy.log", cwd=Path(cwd))
    runner = Runner(one, on_event=diary)
    runner.start()
    exits = [diary.wait_for(Kind.EXITED), diary.wait_for(Kind.EXITED, times=2)]
    runner.stop()
    assert all(reason in one.reason for one in exits)
    if not reason:
        assert [one.code for one in exits] == [127, 127]
        assert "cannot run /no/such/program: No such file" in one.log_path.read_text()


def test_what_comes_before_a_start_comes_before_every_start(
    tmp_path: Path, diary: Diary
) -> None:
    calls: list[int] = []
    one = Child(
        "db",
        ("/bin/false",),
        ENVIRONMENT,
        tmp_path / "db.log",
        before=lambda: calls.append(len(diary.of(Kind.EXITED))),
    )
    runner = Runner(one, on_event=diary)
    runner.start()
    diary.wait_for(Kind.EXITED, times=3)
    runner.stop()
    assert calls[:3] == [0, 1, 2]


def test_a_listener_that_fails_does_not_end_the_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(event: Event) -> None:
        msg = "no terminal"
        raise RuntimeError(msg)

    runner = Runner(child(tmp_path, "proxy", "/bin/sleep", "600"), on_event=listener)
    runner.start()
    eventually(lambda: runner.pid is not None)
    first = runner.pid or 0
    os.kill(first, signal.SIGKILL)
    eventually(lambda: runner.pid not in {None, first})
    runner.stop()
    assert "the listener failed on: proxy started" in caplog.text


def test_a_child_gets_its_environment_and_nothing_else_and_argv_holds_no_secret(
    supervisor: Supervisor, diary: Diary, tmp_path: Path
) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_CTYPE": "C.UTF-8",
        "SIGNALOPS_ADMIN_KEY": "so-s3cret",
    }
    one = Child("api", ("/bin/sleep", "600"), environment, tmp_path / "api.log")
    supervisor.launch(one)
    process = psutil.Process(diary.of(Kind.STARTED)[0].pid)
    eventually(lambda: process.cmdline() == ["/bin/sleep", "600"])
    assert process.environ() == environment


def test_a_child_leads_a_session_of_its_own_and_logs_privately(
    supervisor: Supervisor, diary: Diary, tmp_path: Path
) -> None:
    one = child(tmp_path, "api", "/bin/sh", "-c", "echo out; echo err >&2; exec sleep 600")
    supervisor.launch(one)
    pid = diary.of(Kind.STARTED)[0].pid or 0
    assert os.getsid(pid) == os.getpgid(pid) == pid
    eventually(has(one.log_path, "out\nerr\n"))
    assert stat.S_IMODE(one.log_path.stat().st_mode) == 0o600
