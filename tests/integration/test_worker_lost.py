"""Does a call whose worker is killed in mid-flight become a row, once?"""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from sidecar.core.calls import CallRecord
from sidecar.core.results import Reconciliation
from sidecar.handoff.aloft import SUFFIX, Aloft, take_over
from sidecar.handoff.journal import segments
from sidecar.service.aloft import record_lost_calls
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.reconciliation import bury_dead_workers, reconcile
from sidecar.service.volume import Volume
from sidecar.store.database import transaction
from tests.integration.conftest import Write

Rows = Callable[[str], Awaitable[list[Any]]]
Make = Callable[..., CallRecord]
Counts = Callable[[], Awaitable[dict[str, int]]]

# What a worker knows of a call at its beginning.
STAMPED = [
    "call_id",
    "project_id",
    "key_id",
    "surface",
    "stream",
    "requested_model",
    "group",
    "task",
    "labels",
    "experiment_id",
    "epoch",
    "stage",
    "generation",
    "unit_id",
    "unit_source",
    "bucket",
    "assigned_arm",
    "share_bp",
]

# A worker as the proxy runs it, less LiteLLM: four calls begin, one is answered.
WORKER = """
import sys
from pathlib import Path
from callbacks.payload.reply import Reply
from callbacks.traffic import Traffic
from callbacks.worker import Worker
from sidecar.core.assignment import ranges
from sidecar.core.routing import Arm, Group, RoutingTable, Task

shares = {"primary": 5_000, "canary": 5_000}
arms = tuple(Arm(name, share, (name,)) for name, share in shares.items())
judge = Group(
    "judge", Task.JUDGE, arms, ranges(shares), ("yes", "no"),
    experiment_id="e-1", salt="s", epoch=2, stage=3,
)
worker = Worker(Path(sys.argv[1]))
worker.start(lambda: None)
worker.use(RoutingTable(4, "h", {"judge": judge}, {}, {}, {}))
traffic = Traffic(worker, has_cache=lambda: False)
for number in range(4):
    sent = {"model": "judge", "messages": [], "user": f"u-{number}", "stream": number == 1}
    request = {**sent, "proxy_server_request": {"body": sent, "headers": {}}}
    data = traffic.take_off(None, request, "acompletion")
    if number == 3:
        traffic.land(traffic.flight(data), data, Reply)
print("flying", flush=True)
sys.stdin.read()
"""

LOST = """
    SELECT unit_id, stream, outcome, error_class, status, served_deployment, served_arm,
           group_name, experiment_id, epoch, stage, generation, share_bp, verdict_failure
    FROM calls WHERE error_class = 'WorkerLost' ORDER BY unit_id
"""


async def kill_a_worker(volume: Volume, *, after_s: float = 0.5) -> str:
    """Run a worker until it has calls under way, kill it, and name it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        str(volume.root),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"flying\n"
    await asyncio.sleep(after_s)  # so that it gives a sign of life while they are under way
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    (page,) = volume.workers.glob(f"*{SUFFIX}")
    return page.name.removesuffix(SUFFIX)


def leave(volume: Volume, writer: str) -> None:
    """End a worker of this process: its lock goes and its file stays, as after a kill."""
    page = volume.workers / f"{writer}{SUFFIX}"
    content = page.read_bytes()
    page.unlink()
    page.write_bytes(content)


async def drain(draining: Draining, volume: Volume) -> None:
    for segment in segments(volume.journal):
        await drain_segment(draining, segment)


async def keep_house(draining: Draining, volume: Volume, now: datetime) -> None:
    """What the drain's loop does in the end, round by round."""
    for _ in range(3):
        await drain(draining, volume)
        await bury_dead_workers(draining.engine, volume, now)


async def compare(draining: Draining, volume: Volume) -> Reconciliation:
    async with transaction(draining.engine) as tx:
        return await reconcile(tx, volume.root)


async def test_a_killed_workers_calls_become_rows(
    draining: Draining, volume: Volume, now: datetime, rows: Rows
) -> None:
    await kill_a_worker(volume)
    await keep_house(draining, volume, now)
    assert await rows("SELECT count(*) FROM calls") == [(4,)]
    decided = ("judge", "e-1", 2, 3, 4, 5000, "provider_error")
    unknown = ("failed", "WorkerLost", None, None, None)
    assert await rows(LOST) == [
        (f"u-{number}", number == 1, *unknown, *decided) for number in range(3)
    ]
    arms = await rows("SELECT assigned_arm, bucket FROM calls")
    assert all((arm == "primary") == (bucket >= 5000) for arm, bucket in arms)


async def test_a_lost_call_lasted_until_its_workers_last_sign_of_life(
    draining: Draining, volume: Volume, now: datetime, rows: Rows
) -> None:
    writer = await kill_a_worker(volume)
    with take_over(volume.workers, writer) as left:
        assert left is not None
        seen_s = left.seen_ns / 1e9
    await keep_house(draining, volume, now)
    for started_at, latency_ms in await rows(
        "SELECT started_at, latency_ms FROM calls WHERE error_class = 'WorkerLost'"
    ):
        assert abs(started_at.timestamp() + latency_ms / 1000 - seen_s) < 0.001
        assert latency_ms > 0


async def test_lost_calls_leave_nothing_behind_and_nothing_missing(
    draining: Draining, volume: Volume, now: datetime, counts: Counts
) -> None:
    await kill_a_worker(volume)
    await keep_house(draining, volume, now)
    assert list(volume.workers.iterdir()) == []
    assert list(volume.journal.iterdir()) == []
    found = await compare(draining, volume)
    assert (found.decided, found.served, found.stored, found.missing) == (4, 4, 4, 0)
    assert found.explanation.startswith("every served call is stored")
    assert (await counts())["worker_lost"] == 3
    assert "repeated" not in await counts()


async def test_a_dead_workers_own_records_come_first(
    draining: Draining, volume: Volume, now: datetime, rows: Rows
) -> None:
    writer = await kill_a_worker(volume)
    assert await record_lost_calls(draining.engine, volume, now) == 0
    await drain(draining, volume)
    assert await record_lost_calls(draining.engine, volume, now) == 3
    assert [path.name for path in segments(volume.journal)] == [f"{writer}-00000000.jsonl"]
    assert await record_lost_calls(draining.engine, volume, now) == 0
    await keep_house(draining, volume, now)
    assert await rows("SELECT count(*), count(DISTINCT call_id) FROM calls") == [(4, 4)]


async def test_a_sidecar_killed_before_it_removes_the_slots_counts_nothing_twice(
    draining: Draining, volume: Volume, now: datetime, rows: Rows, counts: Counts
) -> None:
    writer = await kill_a_worker(volume)
    page = volume.workers / f"{writer}{SUFFIX}"
    before = page.read_bytes()
    await keep_house(draining, volume, now)
    page.write_bytes(before)
    await keep_house(draining, volume, now)
    assert not page.exists()
    assert await rows("SELECT count(*), count(DISTINCT call_id) FROM calls") == [(4, 4)]
    assert (await counts())["worker_lost"] == 3


async def test_a_sidecar_killed_before_it_marks_the_slots_doubles_nothing(
    draining: Draining, volume: Volume, now: datetime, rows: Rows
) -> None:
    writer = await kill_a_worker(volume)
    page = volume.workers / f"{writer}{SUFFIX}"
    await drain(draining, volume)
    unmarked = page.read_bytes()
    assert await record_lost_calls(draining.engine, volume, now) == 3
    page.write_bytes(unmarked)
    await keep_house(draining, volume, now)
    assert await rows("SELECT count(*), count(DISTINCT call_id) FROM calls") == [(4, 4)]


async def test_several_sidecars_at_once_double_nothing(
    draining: Draining, volume: Volume, now: datetime, rows: Rows, counts: Counts
) -> None:
    await kill_a_worker(volume)
    others = [Draining(draining.engine, volume, lambda: now) for _ in range(3)]
    await asyncio.gather(*(keep_house(other, volume, now) for other in [draining, *others]))
    await keep_house(draining, volume, now)
    assert await rows("SELECT count(*), count(DISTINCT call_id) FROM calls") == [(4, 4)]
    assert (await counts())["worker_lost"] == 3


async def test_a_call_whose_record_was_journalled_before_the_kill_stays_as_it_was(
    draining: Draining, volume: Volume, now: datetime, write: Write, record: Make, rows: Rows
) -> None:
    answered = record()
    line = answered.to_line()
    aloft = Aloft(volume.workers, writer="w", started_ns=1)
    stamp = {name: line[name] for name in STAMPED}
    aloft.stamp(answered.call_id, json.dumps(stamp).encode())
    leave(volume, "w")
    write([answered])
    await keep_house(draining, volume, now)
    assert await rows("SELECT outcome, error_class FROM calls") == [("served", None)]
    assert list(volume.workers.iterdir()) == []
    assert (await compare(draining, volume)).stored == 1


async def test_a_stamp_that_cannot_be_read_is_put_aside_and_counted(
    draining: Draining, volume: Volume, now: datetime, counts: Counts
) -> None:
    aloft = Aloft(volume.workers, writer="w", started_ns=1)
    aloft.stamp("a", b"no stamp of ours")
    aloft.stamp("b", b'{"call_id": "of another version"}')
    leave(volume, "w")
    await keep_house(draining, volume, now)
    assert await counts() == {"quarantined": 2, "worker_lost": 2}
    (aside,) = volume.quarantine.iterdir()
    assert [json.loads(line)["line"] for line in aside.read_text().splitlines()] == [
        "no stamp of ours",
        '{"call_id": "of another version"}',
    ]
    assert (await compare(draining, volume)).missing == 0


async def test_a_living_workers_calls_are_left_alone(
    draining: Draining, volume: Volume, now: datetime
) -> None:
    aloft = Aloft(volume.workers, writer="w", started_ns=1)
    aloft.stamp("a", b"{}")
    await keep_house(draining, volume, now)
    assert (volume.workers / f"w{SUFFIX}").exists()
