"""How fast is the drain, beside a raw COPY of the very same rows into the very same table?

    python -m tests.bench.bench_drain

Prints `name: value` lines. Uses `SIGNALOPS_DATABASE_URL` (a new database is made there and
dropped again) or starts the embedded server.
"""

import asyncio
import random
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.handoff.journal import Journal
from sidecar.service.drain import Draining, KnownContents, drain_segment
from sidecar.service.lines import read_batch
from sidecar.service.storable import storable_row
from sidecar.service.volume import Volume
from sidecar.store import calls
from sidecar.store.database import create_engine, transaction
from sidecar.store.migrate import migrate
from tests.bench.grounds import grounds
from tests.records import judge_record

ROUNDS = 7
ROWS = 8_000
SYSTEM = "You judge whether a post is of use to the people who asked for it. " * 18
POST = "We are looking for a tool that helps our team with the billing of small clients."


def write_segment(directory: Path, writer: str, random_: random.Random) -> Path:
    """Write a segment of judge calls of some 2 kB, with a system prompt in common."""
    journal = Journal(directory, writer=writer, segment_bytes=2**40)
    for number in range(ROWS):
        post = " ".join(random_.choices(POST.split(), k=60))
        record = judge_record(datetime.now(UTC), f"u-{number % 997}", post)
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": post},
        ]
        request = {"model": "judge", "messages": messages, "temperature": 0}
        journal.append(orjson.dumps(replace(record, request=request).to_line()))
    journal.close()
    return directory / f"{writer}-00000001.jsonl"


async def drain_s(engine: AsyncEngine, volume: Volume, segment: Path) -> float:
    """Measure the drain of a segment, in seconds."""
    draining = Draining(engine, volume, lambda: datetime.now(UTC), KnownContents())
    began = time.perf_counter()
    await drain_segment(draining, segment)
    return time.perf_counter() - began


async def copy_s(engine: AsyncEngine, segment: Path) -> float:
    """Measure COPY of a segment's rows, made ready beforehand, in seconds."""
    chunks, start = [], 0
    while not (batch := read_batch(segment, start, datetime.now(UTC))).is_empty:
        chunks.append(list(batch.rows.values()))
        if batch.is_last:
            break
        start = batch.end
    began = time.perf_counter()
    for rows in chunks:
        async with transaction(engine) as tx:
            await calls.insert(tx, rows, storable_row)
    return time.perf_counter() - began


async def measure(url: str, directory: Path) -> None:
    """Run both in turns, each on a table as empty as the other's."""
    engine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    volume, random_ = Volume(directory), random.Random(1)  # noqa: S311 - sample texts
    drained, copied = [], []
    for number in range(ROUNDS):
        segment = write_segment(volume.journal, f"bench{number}", random_)
        for is_copy in (number % 2 == 0, number % 2 == 1):
            async with transaction(engine) as tx:
                await tx.execute(text("TRUNCATE calls, contents"))
            if is_copy:
                copied.append(await copy_s(engine, segment))
            else:
                kept = segment.read_bytes()
                drained.append(await drain_s(engine, volume, segment))
                segment.write_bytes(kept)
        segment.unlink()
    await engine.dispose()
    ratios = [copy / drain for copy, drain in zip(copied, drained, strict=True)]
    sys.stdout.write(f"drain_rows_per_s: {ROWS / statistics.median(drained):.0f}\n")
    sys.stdout.write(f"copy_rows_per_s: {ROWS / statistics.median(copied):.0f}\n")
    sys.stdout.write(f"drain_over_copy: {statistics.median(ratios):.2f}\n")


def main() -> None:
    """Measure in a database of its own, and leave nothing behind."""
    with grounds() as (url, directory):
        asyncio.run(measure(url, directory / "handoff"))


if __name__ == "__main__":
    main()
