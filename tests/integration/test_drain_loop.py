"""Does the loop keep draining, whatever happens to the database and to single segments?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from sidecar.core.calls import CallRecord, Enrichment
from sidecar.handoff.gauges import SUFFIX, Gauges
from sidecar.handoff.journal import Journal
from sidecar.service.volume import Volume
from sidecar.store.database import create_engine
from sidecar.worker.drain import Drainer
from tests.gate import Gate
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]
Rows = Callable[[str], Awaitable[list[Any]]]
STORED = "SELECT count(*) FROM calls"


def clock() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def running(drainer: Drainer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(drainer.run(stop))
        yield
        stop.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - the loop tells nobody of its rounds
        await asyncio.sleep(0.02)


async def test_what_is_journalled_while_it_runs_is_stored_and_segments_go(
    engine: AsyncEngine, volume: Volume, record: Make, rows: Rows
) -> None:
    drainer = Drainer(engine, volume.root, clock=clock)
    journal = Journal(volume.journal, writer="alive", segment_bytes=4_000)
    async with running(drainer):
        for number in range(20):
            journal.append(orjson.dumps(record(f"u-{number}").to_line()))
            await asyncio.sleep(0.01)

        async def stored() -> bool:
            return await rows(STORED) == [(20,)]

        await until(stored)
        journal.close()

        async def gone() -> bool:
            return list(volume.journal.iterdir()) == []

        await until(gone)
    assert drainer.status.error is None
    assert drainer.status.lag_bytes == 0
    assert drainer.status.succeeded_at is not None


async def test_an_outage_is_told_of_and_survived(
    database_url: str, volume: Volume, write: Write, record: Make, rows: Rows
) -> None:
    gate = await Gate.open(database_url)
    engine = create_engine(gate.url, pool_size=1)
    drainer = Drainer(engine, volume.root, clock=clock)
    write([record()])
    with capture_logs() as logs:
        assert await drainer.round(asyncio.Event())
        await gate.shut()
        waiting = write([record(), record()])
        async with running(drainer):

            async def failing() -> bool:
                return drainer.status.failures > 1

            await until(failing)
            assert "cannot be reached" in str(drainer.status.error)
            assert drainer.status.lag_bytes == waiting.stat().st_size
            await gate.reopen()

            async def stored() -> bool:
                return await rows(STORED) == [(3,)]

            await until(stored)
        assert drainer.status.error is None
    await engine.dispose()
    await gate.shut()
    events = [entry["event"] for entry in logs]
    assert "drain.database.unavailable" in events
    assert "drain.round.recovered" in events
    assert "post" not in str(logs)


async def test_one_segments_trouble_does_not_stop_the_others(
    engine: AsyncEngine, volume: Volume, write: Write, record: Make, rows: Rows
) -> None:
    volume.journal.mkdir(parents=True)
    (volume.journal / "a-00000001.jsonl").mkdir()  # cannot be read
    bad = write([record(), b"no line of ours"])
    volume.quarantine.write_text("a file where the directory should be")
    write([record()])
    drainer = Drainer(engine, volume.root, clock=clock)
    with capture_logs() as logs:
        assert not await drainer.round(asyncio.Event())
    assert {entry.get("during"): entry["event"] for entry in logs} == {
        "a-00000001.jsonl": "drain.work.failed",
        bad.name: "drain.lines.refused",
    }
    assert drainer.status.failures == 1
    assert await rows(STORED) == [(1,)]


async def test_house_is_kept_dead_workers_and_late_enrichments(
    engine: AsyncEngine, volume: Volume, write: Write, record: Make, rows: Rows
) -> None:
    Gauges(volume.workers, writer="w-1", pid=1, started_ns=1).add("finished", 7)
    page = volume.workers / f"w-1{SUFFIX}"
    content = page.read_bytes()
    page.unlink()
    page.write_bytes(content)  # its lock is gone: a dead worker's
    call = record()
    write([call, Enrichment(call.call_id)])
    drainer = Drainer(engine, volume.root, clock=clock)
    assert await drainer.round(asyncio.Event())
    assert not page.exists()
    assert await rows("SELECT writer FROM workers") == [("w-1",)]


async def test_quarantined_lines_are_counted_and_logged_without_their_text(
    engine: AsyncEngine, volume: Volume, write: Write
) -> None:
    write([b"a secret prompt", b"another"])
    drainer = Drainer(engine, volume.root, clock=clock)
    with capture_logs() as logs:
        assert await drainer.round(asyncio.Event())
    assert drainer.status.quarantined == 2
    assert [entry["event"] for entry in logs] == ["drain.lines.quarantined"]
    assert "secret" not in str(logs)


async def test_a_stop_ends_the_loop_at_once(engine: AsyncEngine, volume: Volume) -> None:
    stop = asyncio.Event()
    stop.set()
    drainer = Drainer(engine, volume.root, clock=clock)
    await drainer.run(stop)
    assert drainer.status.succeeded_at is None
