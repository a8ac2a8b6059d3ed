import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.handoff.gauges import Gauges, forget, read_workers
from sidecar.handoff.journal import Journal, JournalFull, JournalLost, read_chunk, segments

lines = st.lists(st.binary(min_size=1, max_size=60).filter(lambda line: b"\n" not in line))


def read_all(directory: Path, max_bytes: int = 1 << 20) -> list[bytes]:
    found: list[bytes] = []
    for segment in segments(directory):
        start, last = 0, False
        while not last:
            chunk = read_chunk(segment, start=start, max_bytes=max_bytes)
            found += chunk.lines
            last = chunk.is_last or chunk.end == start
            start = chunk.end
    return found


@given(lines, st.integers(1, 200), st.integers(1, 200))
def test_what_is_appended_is_read_back_whatever_the_sizes(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], segment: int, chunk: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory, writer="w", segment_bytes=segment)
    for line in written:
        journal.append(line)
    journal.close()
    assert read_all(directory, chunk) == written


def test_a_segment_is_complete_only_when_its_writer_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writer="w")
    journal.append(b"one")
    [segment] = segments(tmp_path)
    assert not read_chunk(segment, start=0, max_bytes=100).is_last
    journal.close()
    assert read_chunk(segment, start=0, max_bytes=100).is_last


def test_a_torn_last_line_is_told_of_only_when_it_will_never_be_completed(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path, writer="w")
    journal.append(b"one")
    [segment] = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(b"half")
    assert read_chunk(segment, start=0, max_bytes=100).torn is None
    journal.close()
    chunk = read_chunk(segment, start=0, max_bytes=100)
    assert (chunk.lines, chunk.torn, chunk.end) == ((b"one",), b"half", 8)


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from sidecar.handoff.gauges import Gauges
from sidecar.handoff.journal import Journal
journal = Journal(Path(sys.argv[1]) / "journal", writer="w", segment_bytes=1000)
gauges = Gauges(Path(sys.argv[1]) / "workers", writer="w", pid=1, started_ns=2)
number = 0
while True:
    journal.append(b"%d" % number)
    gauges.add("journalled")
    print(number, flush=True)
    number += 1
"""


def test_killing_the_writer_loses_no_line_it_was_told_is_kept(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    for _ in range(500):
        acknowledged = int(writer.stdout.readline())
    [alive] = read_workers(tmp_path / "workers")
    assert alive.alive
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().splitlines()[:-1])])
    writer.wait()
    writer.stdout.close()
    found = [int(line) for line in read_all(tmp_path / "journal")]
    assert found == list(range(len(found)))
    assert len(found) > acknowledged
    [dead] = read_workers(tmp_path / "workers")
    assert not dead.alive
    assert dead.values["journalled"] > acknowledged


FILL_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from sidecar.handoff.journal import Journal, JournalFull, JournalLost
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
journal = Journal(Path(sys.argv[1]), writer="w", backlog_bytes=300)
seen = []
for number in range(60):
    try:
        journal.append(b"%09d" % number)
        seen.append("kept")
    except JournalFull:
        seen.append("waits")
    except JournalLost:
        seen.append("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
flushed = journal.flush()
journal.append(b"last")
print(seen.count("kept"), seen.count("waits"), seen.count("lost"), flushed, journal.backlog)
"""


def test_a_full_disk_keeps_lines_waiting_and_writes_them_when_it_has_room(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    # 10 lines fill 100 bytes, 30 fill the 300 of the backlog, the rest are given up.
    assert done.stdout.split() == ["10", "30", "20", "30", "0"]
    assert read_all(tmp_path) == [*(b"%09d" % number for number in range(40)), b"last"]


def test_a_writer_that_cannot_open_a_segment_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    journal = Journal(blocked, writer="w", backlog_bytes=5)
    with pytest.raises(JournalFull, match="wait in memory"):
        journal.append(b"one")
    with pytest.raises(JournalLost):
        journal.append(b"two")


def test_a_forgotten_worker_is_gone(tmp_path: Path) -> None:
    gauges = Gauges(tmp_path, writer="w", pid=7, started_ns=9)
    gauges.set("generation", 3)
    gauges.add("errors", 2)
    [found] = read_workers(tmp_path)
    assert (found.pid, found.started_ns, found.values["generation"]) == (7, 9, 3)
    assert found.values["errors"] == 2
    forget(tmp_path, "w")
    assert read_workers(tmp_path) == []
