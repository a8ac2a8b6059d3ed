"""Is every line drained exactly once, however often the drain is killed?"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.calls import (
    CallRecord,
    Enrichment,
)
from sidecar.core.errors import Unavailable
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.volume import Volume
from sidecar.store.database import create_engine
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]
Rows = Callable[[str], Awaitable[list[Any]]]
Counts = Callable[[], Awaitable[dict[str, int]]]

COUNT = "SELECT count(*), count(DISTINCT call_id) FROM calls"


def put_aside(volume: Volume) -> list[dict[str, str]]:
    """Every line in the quarantine, with its reason."""
    files = sorted(volume.quarantine.iterdir()) if volume.quarantine.exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


DRAIN = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from sidecar.handoff.journal import segments
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.volume import Volume
from sidecar.store.database import create_engine

async def main():
    volume = Volume(Path(sys.argv[2]))
    engine = create_engine(sys.argv[1])
    draining = Draining(engine, volume, lambda: datetime.now(UTC), chunk_bytes=20_000)
    print("ready", flush=True)
    for segment in segments(volume.journal):
        await drain_segment(draining, segment)
    await engine.dispose()

asyncio.run(main())
"""


@contextmanager
def no_zombie(process: asyncio.subprocess.Process) -> Iterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()


async def drain_and_die(url: str, volume: Volume, after_s: float) -> bool:
    """Drain in another process and kill it; returns whether it came to its end first."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DRAIN, url, str(volume.root), stdout=asyncio.subprocess.PIPE
    )
    with no_zombie(process):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        try:
            async with asyncio.timeout(after_s):
                return await process.wait() == 0
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.communicate()
            return False


async def test_a_drain_that_is_killed_again_and_again_loses_and_doubles_nothing(
    database_url: str, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    dice = random.Random(3)  # noqa: S311
    calls, bad, late = [], 0, 0
    for _ in range(4):
        lines: list[Any] = []
        for number in range(600):
            call = replace(record(f"u-{number}"), cost_usd=None)
            calls.append(call)
            lines.append(call)
            if dice.random() < 0.2:
                late += 1
                lines.append(Enrichment(call.call_id, cost_usd=1.0))
            if dice.random() < 0.02:
                bad += 1
                lines.append(b"no line of ours %d" % bad)
        write(lines)
    kills = 0
    while not await drain_and_die(database_url, volume, dice.uniform(0.02, 0.4)):
        kills += 1
    assert kills > 0, "nothing was killed: the drain is faster than the shortest wait"
    assert await rows(COUNT) == [(len(calls), len(calls))]
    assert await rows("SELECT count(*) FROM calls WHERE cost_usd = 1") == [(late,)]
    assert await counts() == {
        "lines": len(calls) + bad + late,
        "stored": len(calls),
        "enrichments": late,
        "quarantined": bad,
    }
    assert sorted(entry["line"] for entry in put_aside(volume)) == sorted(
        f"no line of ours {number + 1}" for number in range(bad)
    )
    assert list(volume.journal.iterdir()) == []


async def test_a_database_that_is_away_is_told_of_and_nothing_is_lost(
    volume: Volume, write: Write, record: Make, tmp_path: Path
) -> None:
    segment = write([record()])
    engine = create_engine("postgresql://nobody:secret-word@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await drain_segment(Draining(engine, volume, lambda: datetime.now(UTC)), segment)
    assert "secret-word" not in str(caught.value)
    assert segment.exists()
    await engine.dispose()
