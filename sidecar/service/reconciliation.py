"""Is every call that was served also stored? What the workers counted against what is there."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.results import Reconciliation
from sidecar.handoff.gauges import WorkerReport, forget, read_workers
from sidecar.handoff.journal import segments
from sidecar.service.aloft import WORKER_LOST, record_lost_calls
from sidecar.service.volume import Volume
from sidecar.store import counters, journal_segments
from sidecar.store.database import transaction

# Gauges that a worker only ever adds to, so that they can be summed over the dead.
_SUMMED = ("decided", "finished", "journalled", "lost", "errors")
_DEAD = "dead_workers."  # before a gauge's name: its sum over them, as a counter


async def bury_dead_workers(engine: AsyncEngine, volume: Volume, now: datetime) -> int:
    """Move the last numbers of workers that died from their files to the database.

    The calls that died with them become rows, see `record_lost_calls`.

    Killed anywhere, it counts no worker twice: the row that is kept of each is the memory
    of having counted it, and the file goes last.

    Returns:
        How many were counted.

    Raises:
        Unavailable: The database cannot be reached; the files are still there.
    """
    reports = await asyncio.to_thread(read_workers, volume.workers)
    buried = 0
    for report in reports:
        if report.alive:
            continue
        async with transaction(engine) as tx:
            if await counters.bury(tx, report.writer, report.values, now=now):
                await counters.add(tx, _last_counts(report.values))
                buried += 1
        await asyncio.to_thread(forget, volume.workers, report.writer)
    await record_lost_calls(engine, volume, now)
    return buried


async def reconcile(tx: AsyncConnection, handoff: Path) -> Reconciliation:
    """Compare what was served with what is stored.

    Args:
        handoff: The shared volume.
    """
    volume = Volume(handoff)
    # The workers are read first: what they finish meanwhile must not seem to be missing
    # less than it is, and what is drained meanwhile may well be there more.
    reports = await asyncio.to_thread(read_workers, volume.workers)
    undrained = await undrained_bytes(tx, volume)
    counts = await counters.get(tx)
    counted = await counters.buried(tx, [report.writer for report in reports])
    gauges = _sum([report for report in reports if report.writer not in counted], counts)
    return _compare(gauges, counts, undrained)


async def undrained_bytes(tx: AsyncConnection, volume: Volume) -> int:
    """Tell how much of the journal is not drained yet."""
    sizes = await asyncio.to_thread(_sizes, volume)
    drained = await journal_segments.drained(tx, list(sizes))
    return sum(max(0, size - drained.get(name, 0)) for name, size in sizes.items())


def _compare(
    gauges: Mapping[str, int], counts: Mapping[str, int], undrained: int
) -> Reconciliation:
    stored, quarantined = counts.get("stored", 0), counts.get("quarantined", 0)
    known = stored + quarantined + gauges["waiting"] + gauges["lost"]
    # Nobody saw the end of a call that died with its worker, but it has a row.
    served = gauges["finished"] + counts.get(WORKER_LOST, 0)
    missing = max(0, served - known)
    return Reconciliation(
        decided=gauges["decided"],
        served=served,
        journalled=gauges["journalled"],
        stored=stored,
        quarantined=quarantined,
        repeated=counts.get("repeated", 0),
        waiting=gauges["waiting"],
        lost=gauges["lost"],
        errors=gauges["errors"],
        undrained_bytes=undrained,
        missing=missing,
        explanation=_explain(missing, undrained, surplus=max(0, known - served)),
    )


def _explain(missing: int, undrained: int, *, surplus: int) -> str:
    if missing and undrained:
        return (
            f"{missing} calls are served and not stored yet; {undrained} bytes of the journal "
            "are still to be drained"
        )
    if missing:
        return (
            f"{missing} calls were served and have no row though the journal is drained: "
            "they are being written this moment, or their records are gone"
        )
    if surplus:
        return (
            f"every served call is accounted for; {surplus} more are stored or put aside than "
            "the workers tell of, because numbers of workers are gone, or a line that was "
            "put aside was not a call's"
        )
    return "every served call is stored, put aside or waiting, or was counted as lost"


def _sum(reports: Sequence[WorkerReport], counts: Mapping[str, int]) -> Counter[str]:
    """Sum up the gauges of the workers that have files, and of those buried before."""
    total = Counter({name: counts.get(_DEAD + name, 0) for name in _SUMMED})
    for report in reports:
        total.update({name: report.values[name] for name in _SUMMED})
        # What a worker has in memory dies with it.
        total["waiting" if report.alive else "lost"] += report.values["waiting"]
    return total


def _last_counts(gauges: Mapping[str, int]) -> dict[str, int]:
    counts = {_DEAD + name: gauges[name] for name in _SUMMED}
    counts[_DEAD + "lost"] += gauges["waiting"]
    return counts


def _sizes(volume: Volume) -> dict[str, int]:
    sizes = {}
    for segment in segments(volume.journal):
        try:
            sizes[segment.name] = segment.stat().st_size
        except FileNotFoundError:  # drained this moment
            continue
    return sizes
