"""What becomes of a call whose worker was killed before its end? A row that says so.

What a dead worker left in its slots is journalled on its behalf, and drained like any other
line. Nobody knows more of such a call than what was decided at its beginning: the row has no
answer and no status, its request is empty, because a copy of it would have cost every call,
and its latency ends with the worker's last sign of life.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.calls import Answer, CallRecord, Outcome, started_at_of
from sidecar.core.errors import Invalid
from sidecar.handoff.aloft import (
    SUFFIX,
    LeftAloft,
    forget,
    mark_journalled,
    take_over,
    write_segment,
    writers,
)
from sidecar.handoff.journal import SUFFIX as SEGMENT
from sidecar.handoff.journal import segments
from sidecar.service.documents import encode
from sidecar.service.lines import BadLine
from sidecar.service.quarantine import put_aside
from sidecar.service.volume import Volume
from sidecar.store import calls, counters
from sidecar.store.database import transaction

WORKER_LOST = "worker_lost"  # a counter: calls that ended with their worker
ERROR_CLASS = "WorkerLost"

# What is the same in every such row; the stamp has the rest, but for the times.
_UNKNOWN: Mapping[str, Any] = {
    "served_deployment": None,
    "served_arm": None,
    "provider_model": None,
    "outcome": Outcome.FAILED,
    "attempts": (),
    "request": {},
    "answer": Answer(),
    "finish_reason": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "cached_tokens": None,
    "cost_usd": None,
    "ttft_ms": None,
    "status": None,
    "error_class": ERROR_CLASS,
    "metadata": {},
    "response_id": None,
}
_STAMPED = {field.name for field in fields(CallRecord)} - {
    *_UNKNOWN,
    "started_at",
    "latency_ms",
}


async def record_lost_calls(engine: AsyncEngine, volume: Volume, now: datetime) -> int:
    """Journal the calls that died with their workers.

    A worker's own segments are drained first, so that only what nobody recorded is left.
    Its file goes when every call in it has its row, in a later round; killed anywhere, or
    done by several at once, no call is journalled twice.

    Returns:
        How many calls were journalled.

    Raises:
        Unavailable: The database cannot be reached, or the quarantine be written; the files
            are still there.
    """
    found = await asyncio.to_thread(writers, volume.workers)
    return sum([await _settle(engine, volume, writer, now) for writer in found])


async def _settle(engine: AsyncEngine, volume: Volume, writer: str, now: datetime) -> int:
    with take_over(volume.workers, writer) as left:
        if left is None or await asyncio.to_thread(_has_segments, volume.journal, writer):
            return 0
        records, bad = _read(left)
        async with transaction(engine) as tx:
            ended = {call_id: await _end_of(tx, call_id) for call_id in records}
        lost = [records[call_id] for call_id, end in ended.items() if end is None]
        if lost and not left.is_journalled:
            await asyncio.to_thread(_journal, volume, writer, lost)
            return len(lost)
        # One that has no row even now was put aside by the drain, and counted.
        calls_lost = sum(end in (None, ERROR_CLASS) for end in ended.values())
        await _count(engine, volume, writer, calls_lost, bad, now)
        await asyncio.to_thread(forget, volume.workers, writer)
        return 0


def _journal(volume: Volume, writer: str, lost: Sequence[CallRecord]) -> None:
    lines = [encode(record.to_line()) for record in lost]
    write_segment(volume.journal, _segment(writer), lines)
    mark_journalled(volume.workers, writer)


async def _count(
    engine: AsyncEngine,
    volume: Volume,
    writer: str,
    calls_lost: int,
    bad: Sequence[BadLine],
    now: datetime,
) -> None:
    """Count what a dead worker left, once, and put aside what cannot be read of it."""
    counts = {WORKER_LOST: calls_lost + len(bad), "quarantined": len(bad)}
    async with transaction(engine) as tx:
        if await counters.bury(tx, writer + SUFFIX, counts, now=now):
            if bad:
                await asyncio.to_thread(put_aside, volume.quarantine, _segment(writer), 0, bad)
            await counters.add(tx, counts)


async def _end_of(tx: AsyncConnection, call_id: str) -> str | None:
    """Say how a call ended, empty when it was answered; None when it has no row."""
    found = await calls.get(tx, call_id)
    return None if found is None else str(found.call["error_class"] or "")


def _read(left: LeftAloft) -> tuple[dict[str, CallRecord], list[BadLine]]:
    """Make records of stamps by call id, and bad lines of those that are none."""
    records, bad = {}, []
    for stamp in left.stamps:
        try:
            record = _record(json.loads(stamp), left.seen_ns)
            records[record.call_id] = record
        except (Invalid, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"a dead worker's stamp cannot be read ({type(error).__name__})"
            bad.append(BadLine(reason, stamp))
    return records, bad


def _record(stamp: Mapping[str, Any], seen_ns: int) -> CallRecord:
    values = {name: stamp[name] for name in _STAMPED}
    started_at = started_at_of(values["call_id"])
    # A call that began after the last sign of life has lived no time that is known.
    latency_ms = max(0.0, seen_ns / 1e6 - started_at.timestamp() * 1000)
    return CallRecord(**values, **_UNKNOWN, started_at=started_at, latency_ms=latency_ms)


def _segment(writer: str) -> str:
    """Name the segment written on a dead worker's behalf; its own begin with 1."""
    return f"{writer}-{0:08d}{SEGMENT}"


def _has_segments(journal: Path, writer: str) -> bool:
    return any(path.name.rpartition("-")[0] == writer for path in segments(journal))
