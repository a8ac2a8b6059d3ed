"""Is what was served compared rightly with what is stored, whoever died in between?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from sidecar.core.calls import CallRecord
from sidecar.core.results import Reconciliation
from sidecar.handoff.gauges import SUFFIX, Gauges
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.reconciliation import bury_dead_workers, reconcile
from sidecar.service.volume import Volume
from sidecar.store import counters
from sidecar.store.database import transaction
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]


@dataclass
class Workers:
    """Workers with gauges; alive as long as they are held."""

    volume: Volume
    alive: dict[str, Gauges]

    def start(self, name: str, **values: int) -> None:
        """Let a worker count."""
        gauges = Gauges(self.volume.workers, writer=name, pid=1, started_ns=len(self.alive))
        for field, value in values.items():
            gauges.set(field, value)
        self.alive[name] = gauges

    def kill(self, name: str) -> None:
        """Leave its file behind, its lock gone, as the kernel does."""
        page = self.volume.workers / f"{name}{SUFFIX}"
        content = page.read_bytes()
        page.unlink()
        page.write_bytes(content)


@pytest.fixture
def workers(volume: Volume) -> Workers:
    return Workers(volume, {})


async def compare(draining: Draining, volume: Volume) -> Reconciliation:
    async with transaction(draining.engine) as tx:
        return await reconcile(tx, volume.root)


async def test_nothing_served_is_nothing_missing(draining: Draining, volume: Volume) -> None:
    found = await compare(draining, volume)
    assert (found.served, found.stored, found.missing, found.undrained_bytes) == (0, 0, 0, 0)


async def test_a_served_call_is_missing_until_it_is_drained(
    draining: Draining, volume: Volume, workers: Workers, write: Write, record: Make
) -> None:
    workers.start("w-1", decided=3, finished=3, journalled=3)
    segment = write([record(), record(), b"no line of ours"])
    before = await compare(draining, volume)
    assert (before.served, before.journalled, before.stored, before.missing) == (3, 3, 0, 3)
    assert before.undrained_bytes == segment.stat().st_size
    assert "still to be drained" in before.explanation
    await drain_segment(draining, segment)
    after = await compare(draining, volume)
    assert (after.stored, after.quarantined, after.missing) == (2, 1, 0)
    assert after.undrained_bytes == 0
    assert "every served call" in after.explanation


async def test_a_call_without_a_trace_is_missing_and_said_to_be(
    draining: Draining, volume: Volume, workers: Workers
) -> None:
    workers.start("w-1", finished=2, journalled=1, waiting=1)
    found = await compare(draining, volume)
    assert (found.missing, found.waiting) == (1, 1)
    assert "records are gone" in found.explanation


async def test_more_rows_than_the_workers_tell_of_are_explained(
    draining: Draining, volume: Volume, write: Write, record: Make
) -> None:
    await drain_segment(draining, write([record()]))
    found = await compare(draining, volume)
    assert (found.missing, found.stored) == (0, 1)
    assert "1 more are stored" in found.explanation


async def test_a_dead_workers_numbers_count_once_wherever_burying_it_is_killed(
    draining: Draining, volume: Volume, workers: Workers, now: datetime
) -> None:
    workers.start("w-1", decided=5, finished=4, journalled=4, waiting=1, errors=2)
    workers.start("w-2", decided=1, finished=1, journalled=1, lost=3, waiting=2)
    alive = await compare(draining, volume)
    assert (alive.served, alive.lost, alive.waiting, alive.errors) == (5, 3, 3, 2)

    workers.kill("w-1")
    page = volume.workers / f"w-1{SUFFIX}"
    content = page.read_bytes()

    def numbers(found: Reconciliation) -> Any:
        return found.decided, found.served, found.journalled, found.lost, found.waiting

    expected = (6, 5, 5, 4, 2)  # what w-1 had in memory is lost
    assert numbers(await compare(draining, volume)) == expected
    assert await bury_dead_workers(draining.engine, volume, now) == 1
    assert not page.exists()
    assert numbers(await compare(draining, volume)) == expected

    page.write_bytes(content)  # as if killed between the commit and the file's end
    assert numbers(await compare(draining, volume)) == expected
    assert await bury_dead_workers(draining.engine, volume, now) == 0
    assert not page.exists()
    assert numbers(await compare(draining, volume)) == expected


async def test_the_living_are_not_buried(
    draining: Draining, volume: Volume, workers: Workers, now: datetime
) -> None:
    workers.start("w-1", finished=4)
    assert await bury_dead_workers(draining.engine, volume, now) == 0
    assert (volume.workers / f"w-1{SUFFIX}").exists()
    async with transaction(draining.engine) as tx:
        assert await counters.get(tx) == {}
