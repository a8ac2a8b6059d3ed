"""How many rows a second does the drain lose because it keeps the totals exact?

    python -m tests.bench.bench_drain_totals

Prints `name: value` lines: rows a second with totals over rows a second without, the one
right after the other on the same segment, so that a busy machine is busy for both. Once with
three calls of ten from units that were seen before, and once with units that are all new,
which is the worst there is. Uses `SIGNALOPS_DATABASE_URL` or starts the embedded server.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.calls import Answer
from sidecar.core.plan import Audit, Plan, plan_hash, to_document
from sidecar.handoff.journal import Journal
from sidecar.service.drain import Draining, Stored, drain_segment
from sidecar.service.volume import Volume
from sidecar.store import epochs
from sidecar.store.database import create_engine, transaction
from sidecar.store.migrate import migrate
from tests.bench.bench_drain import POST, SYSTEM
from tests.bench.grounds import grounds
from tests.records import judge_record

ROUNDS = 9
ROWS = 8_000
REPEATED = 0.3  # calls of units that were seen before
CANARY = 0.2
LABELS = ("relevant", "irrelevant", "maybe")
EXPERIMENT = "exp-bench"


class Units:
    """Names the unit of one call after another."""

    def __init__(self, repeated: float, random_: random.Random) -> None:
        self._repeated, self._random, self._seen = repeated, random_, 0

    def next(self) -> str:
        """Give a new unit, or one that was given before."""
        if self._seen and self._random.random() < self._repeated:
            return f"customer-{self._random.randrange(self._seen):09d}"
        self._seen += 1
        return f"customer-{self._seen - 1:09d}"


def write_segment(
    directory: Path, writer: str, units: Units, random_: random.Random
) -> tuple[Path, bytes]:
    """Write a segment of judge calls of some 2 kB; a unit keeps its arm."""
    journal = Journal(directory, writer=writer, segment_bytes=2**40)
    for _ in range(ROWS):
        unit = units.next()
        arm = "canary" if random.Random(unit).random() < CANARY else "primary"  # noqa: S311
        post = " ".join(random_.choices(POST.split(), k=60))
        record = judge_record(datetime.now(UTC), unit, post)
        answer = {
            "label": random_.choice(LABELS),
            "confidence": round(random_.random(), 2),
            "reasoning": "It asks for advice.",
        }
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": post},
        ]
        record = replace(
            record,
            experiment_id=EXPERIMENT,
            assigned_arm=arm,
            served_arm=arm,
            served_deployment=f"judge-{arm}",
            latency_ms=random_.lognormvariate(6, 0.5),
            answer=Answer(text=orjson.dumps(answer).decode()),
            request={"model": "judge", "messages": messages, "temperature": 0},
        )
        journal.append(orjson.dumps(record.to_line()))
    journal.close()
    segment = directory / f"{writer}-00000001.jsonl"
    return segment, segment.read_bytes()


async def plan(engine: AsyncEngine) -> None:
    """Freeze a plan that draws one call of ten for the audit and says what is slow."""
    made = Plan(audit=Audit(rate=0.1), slow_ms=900.0)
    now = datetime.now(UTC)
    frozen = epochs.Epoch(1, to_document(made), plan_hash(made), now, "bench", None)
    async with transaction(engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO experiments (id, group_name, project_id, owner, salt, arms, "
                "share_bp, status, epoch, stage, version, created_at) VALUES (:id, 'judge', "
                "'default', 'experiment', 's', '{}', '{}', 'active', 1, 1, 1, now())"
            ),
            {"id": EXPERIMENT},
        )
        await epochs.add(tx, EXPERIMENT, frozen)


async def _nothing(_tx: AsyncConnection, _stored: Stored) -> None:
    """Keep no totals."""


async def _drain_s(engine: AsyncEngine, volume: Volume, segment: Path, **how: object) -> float:
    async with transaction(engine) as tx:
        await tx.execute(text("TRUNCATE calls, contents"))
    draining = replace(Draining(engine, volume, lambda: datetime.now(UTC)), **how)  # type: ignore[arg-type]
    began = time.perf_counter()
    await drain_segment(draining, segment)
    return time.perf_counter() - began


async def measure(url: str, directory: Path, repeated: float) -> tuple[float, float]:
    """Drain segment after segment with and without totals, each first in turn.

    Returns:
        The median of the ratios, and of the rows a second with totals.
    """
    engine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    await plan(engine)
    volume, random_ = Volume(directory), random.Random(1)  # noqa: S311 - sample texts
    units = Units(repeated, random_)
    ratios, rates = [], []
    for number in range(ROUNDS):
        segment, lines = write_segment(volume.journal, f"bench{number}", units, random_)
        took: dict[bool, float] = {}
        for is_counted in (number % 2 == 0, number % 2 == 1):
            segment.write_bytes(lines)
            how: dict[str, Callable[..., object]] = {} if is_counted else {"count": _nothing}
            took[is_counted] = await _drain_s(engine, volume, segment, **how)
        ratios.append(took[False] / took[True])
        rates.append(ROWS / took[True])
    await engine.dispose()
    return statistics.median(ratios), statistics.median(rates)


def main() -> None:
    """Measure both mixes of units, each in a database of its own."""
    for suffix, repeated in (("", REPEATED), ("_new_units", 0.0)):
        with grounds() as (url, directory):
            ratio, rate = asyncio.run(measure(url, directory / "handoff", repeated))
        sys.stdout.write(f"drain_totals_ratio{suffix}: {ratio:.2f}\n")
        sys.stdout.write(f"drain_totals_rows_per_s{suffix}: {rate:.0f}\n")


if __name__ == "__main__":
    main()
