"""What a worker had under way: is it there after a kill, and gone after an ordinary end?"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.handoff.aloft import (
    SLOT_BYTES,
    SUFFIX,
    Aloft,
    LeftAloft,
    forget,
    mark_journalled,
    take_over,
    write_segment,
    writers,
)
from sidecar.handoff.journal import read_chunk, segments


def make(folder: Path, slots: int = 4) -> Aloft:
    return Aloft(folder, writer="w", started_ns=5, slots=slots)


def die(folder: Path) -> None:
    """End the writer: its lock goes and its file stays, as after a kill."""
    path = folder / f"w{SUFFIX}"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def left(folder: Path) -> LeftAloft:
    with take_over(folder, "w") as found:
        assert found is not None
        return found


def test_what_is_not_cleared_is_left(tmp_path: Path) -> None:
    aloft = make(tmp_path)
    for name in ("a", "b", "c"):
        assert aloft.stamp(name, f"stamp {name}".encode())
    aloft.clear("b")
    aloft.clear("never begun")
    aloft.beat(77)
    die(tmp_path)
    found = left(tmp_path)
    assert set(found.stamps) == {b"stamp a", b"stamp c"}
    assert (found.writer, found.seen_ns, found.is_journalled) == ("w", 77, False)


def test_a_shorter_stamp_in_a_used_slot_has_nothing_of_the_one_before(tmp_path: Path) -> None:
    aloft = make(tmp_path, slots=1)
    aloft.stamp("a", b"a long stamp")
    aloft.clear("a")
    aloft.stamp("b", b"short")
    die(tmp_path)
    assert left(tmp_path).stamps == (b"short",)


def test_when_no_slot_is_free_the_oldest_call_leaves_no_trace(tmp_path: Path) -> None:
    aloft = make(tmp_path, slots=2)
    assert aloft.stamp("a", b"a")
    assert aloft.stamp("b", b"b")
    assert not aloft.stamp("c", b"c")
    aloft.clear("a")  # it has no slot any more, and must not free another's
    die(tmp_path)
    assert set(left(tmp_path).stamps) == {b"b", b"c"}


def test_a_stamp_that_is_too_long_takes_no_slot(tmp_path: Path) -> None:
    aloft = make(tmp_path)
    assert not aloft.stamp("a", b"x" * SLOT_BYTES)
    longest = b"x" * (SLOT_BYTES - 4)
    assert aloft.stamp("b", longest)
    die(tmp_path)
    assert left(tmp_path).stamps == (longest,)


def test_the_living_are_not_taken_over(tmp_path: Path) -> None:
    aloft = make(tmp_path)
    aloft.stamp("a", b"a")
    assert writers(tmp_path) == ["w"]
    with take_over(tmp_path, "w") as found:
        assert found is None


def test_only_one_at_a_time_takes_over_a_dead_worker(tmp_path: Path) -> None:
    make(tmp_path)
    die(tmp_path)
    with take_over(tmp_path, "w") as first, take_over(tmp_path, "w") as second:
        assert first is not None
        assert second is None
    assert left(tmp_path).stamps == ()


def test_what_is_dealt_with_is_marked_and_then_gone(tmp_path: Path) -> None:
    make(tmp_path)
    die(tmp_path)
    mark_journalled(tmp_path, "w")
    assert left(tmp_path).is_journalled
    forget(tmp_path, "w")
    forget(tmp_path, "w")
    assert writers(tmp_path) == []
    with take_over(tmp_path, "w") as found:
        assert found is None


@pytest.mark.parametrize("content", [b"", b"no page of ours", b"x" * 10_000])
def test_a_file_that_is_none_of_ours_holds_no_calls(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"w{SUFFIX}").write_bytes(content)
    assert left(tmp_path).stamps == ()


def test_where_the_disk_refuses_calls_are_noted_in_memory_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    aloft = make(tmp_path / "file" / "below")
    assert aloft.stamp("a", b"a")
    aloft.clear("a")


def test_a_segment_written_for_the_dead_is_complete(tmp_path: Path) -> None:
    write_segment(tmp_path, "w-00000000.jsonl", [b"one", b"two"])
    (segment,) = segments(tmp_path)
    chunk = read_chunk(segment, start=0, max_bytes=100)
    assert chunk.lines == (b"one", b"two")
    assert chunk.is_last


KILLED = """
import os, signal, sys
from pathlib import Path
from sidecar.handoff.aloft import Aloft
aloft = Aloft(Path(sys.argv[1]), writer="w", started_ns=1)
for number in range(100):
    aloft.stamp(str(number), b"stamp %d" % number)
    if number % 2:
        aloft.clear(str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_under_way_survives_kill_9(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert set(left(tmp_path).stamps) == {b"stamp %d" % n for n in range(0, 100, 2)}
