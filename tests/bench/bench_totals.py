"""What does it cost a drained row to keep the totals exact?

    python -m tests.bench.bench_totals

Prints `name: value` lines. Batches are a drain's: some 2,000 calls, of which half belong to
units that were seen before. Uses `SIGNALOPS_DATABASE_URL` (a new database is made there and
dropped again) or starts the embedded server.
"""

import asyncio
import random
import statistics
import sys
import time
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.facts import Facts, ll_of
from sidecar.core.tallies import tally
from sidecar.service import totals
from sidecar.store.database import create_engine, transaction
from sidecar.store.migrate import migrate
from tests.bench.grounds import grounds
from tests.measured import Made

ROUNDS = 30
ROWS = 2_000
LABELS = ("relevant", "irrelevant", "maybe")


def batch(number: int, random_: random.Random) -> list[Facts]:
    """Make a batch's facts: a new unit for every other call, the rest seen before."""
    found = []
    for place in range(ROWS):
        is_new = place % 2 == 0
        unit = number * ROWS + place if is_new else random_.randrange(number * ROWS + 1)
        arm = "canary" if random_.random() < 0.2 else "primary"
        latency_ms = random_.lognormvariate(6, 0.5)
        facts = Made(
            unit_id=f"u-{unit}",
            arm=arm,
            served_by=f"judge-{arm}",
            label=random_.choice(LABELS),
            confidence=round(random_.random(), 2),
            latency_ms=latency_ms,
            is_drawn=random_.random() < 0.1,
        ).facts
        found.append(facts._replace(ll=ll_of(latency_ms)))
    return found


async def measure(url: str) -> None:
    """Count batch after batch."""
    engine: AsyncEngine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    random_ = random.Random(1)  # noqa: S311 - sample numbers
    whole, python = [], []
    for number in range(ROUNDS):
        calls = batch(number, random_)
        began = time.perf_counter()
        tally([], calls, {})
        python.append(time.perf_counter() - began)
        began = time.perf_counter()
        async with transaction(engine) as tx:
            await totals.apply(tx, [], calls)
        whole.append(time.perf_counter() - began)
    await engine.dispose()
    sys.stdout.write(f"totals_us_per_row: {statistics.median(whole) / ROWS * 1e6:.1f}\n")
    sys.stdout.write(
        f"totals_python_us_per_row: {statistics.median(python) / ROWS * 1e6:.1f}\n"
    )


def main() -> None:
    """Measure in a database of its own, and leave nothing behind."""
    with grounds() as (url, _):
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
