"""How do journalled calls reach PostgreSQL? A chunk at a time, none lost, none twice.

The rows, the counts and the place reached in the segment are committed together, so a drain
that is killed anywhere leaves off where it can go on. Any number may drain one volume.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.facts import Facts
from sidecar.core.tallies import Epoch
from sidecar.service import totals
from sidecar.service.counting import Designs, facts_of
from sidecar.service.lines import CHUNK_BYTES, BadLine, Batch, read_batch
from sidecar.service.quarantine import put_aside
from sidecar.service.storable import storable_row
from sidecar.service.volume import Volume
from sidecar.store import calls, contents, counters, enrichments, journal_segments
from sidecar.store.calls import Row
from sidecar.store.database import transaction
from sidecar.store.partitions import ensure_partitions

KNOWN_CONTENTS = 20_000  # hashes remembered, some 2 MB


class KnownContents:
    """Hashes of contents that are stored for certain, the latest ones seen.

    Whoever deletes contents must not do so while drains run that remember them.
    """

    def __init__(self, limit: int = KNOWN_CONTENTS) -> None:
        self._limit = limit
        self._hashes: dict[bytes, None] = {}

    def unknown(self, parts: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Pick the parts that may not be stored yet."""
        return {digest: body for digest, body in parts.items() if digest not in self._hashes}

    def learn(self, parts: Mapping[bytes, bytes]) -> None:
        """Remember parts whose transaction is committed."""
        for digest in parts:
            self._hashes.pop(digest, None)
            self._hashes[digest] = None
        for digest in list(self._hashes)[: max(0, len(self._hashes) - self._limit)]:
            del self._hashes[digest]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch.

    Args:
        bad: Lines that become no row: the batch's own bad ones, and those of rows that
            PostgreSQL does not take.
        new: Rows that were not there before.
        before: What of the calls that changed was counted already.
        after: What these are now.
        slow_ms: What counts as slow in the epochs that are known; None where none is.
    """

    bad: Sequence[BadLine]
    new: Sequence[Row]
    before: Sequence[Facts]
    after: Sequence[Facts]
    slow_ms: Mapping[Epoch, float | None]


async def count(tx: AsyncConnection, stored: Stored) -> None:
    """Change the totals as a batch has changed the rows."""
    after = [*facts_of(stored.new), *stored.after]
    await totals.apply(tx, stored.before, after, known_slow_ms=stored.slow_ms)


@dataclass(frozen=True, slots=True)
class Draining:
    """What a drain works with.

    Args:
        known, designs: Shared by all that this process drains.
        now: Tells the time, aware.
        chunk_bytes: About how much one transaction takes in.
        count: Makes the totals follow, at the end of a batch's transaction.
    """

    engine: AsyncEngine
    volume: Volume
    now: Callable[[], datetime]
    known: KnownContents = field(default_factory=KnownContents)
    designs: Designs = field(default_factory=Designs)
    chunk_bytes: int = CHUNK_BYTES
    count: Callable[[AsyncConnection, Stored], Awaitable[None]] = count


@dataclass(frozen=True, slots=True)
class Position:
    """Where a drain of a segment stands.

    Args:
        drained_bytes: Everything before it is committed.
        is_gone: The segment was drained to its end, by whomever, and deleted.
        quarantined: Lines put aside on the way.
    """

    drained_bytes: int
    is_gone: bool = False
    quarantined: int = 0


async def drain_segment(draining: Draining, segment: Path, start: int = 0) -> Position:
    """Drain a segment to its present end, and delete it if that is its end for good.

    Leaves a segment alone that another drain is at.

    Args:
        start: Where it is believed to be drained to; a wrong guess costs a reading.

    Raises:
        Unavailable: PostgreSQL or the quarantine cannot be written. Nothing is lost, and
            what was committed before is not done again.
    """
    try:
        return await _drain(draining, segment, start)
    except FileNotFoundError:  # another drain has finished it
        return Position(start, is_gone=True)


async def store_batch(
    tx: AsyncConnection, batch: Batch, draining: Draining, on_copy: Callable[[], None]
) -> Stored:
    """Store what a chunk holds, and count its lines.

    Args:
        on_copy: Called once, when PostgreSQL is about to be busy for a while.
    """
    if parts := draining.known.unknown(batch.parts):
        await contents.add(tx, parts)
    await ensure_partitions(tx, batch.months)
    await draining.designs.learn(tx, batch.rows.values())
    rows = [draining.designs.draw(row) for row in batch.rows.values()]
    on_copy()
    inserted = await calls.insert(tx, rows, storable_row)
    before, after = await _enrich(tx, batch, untouched=len(rows) - len(inserted.stored))
    refused = [
        BadLine(f"PostgreSQL does not take it ({why})", batch.raw[str(row[0])])
        for row, why in inserted.refused
    ]
    bad = batch.bad + refused
    counts = {
        "lines": batch.lines,
        "stored": len(inserted.stored),
        "repeated": batch.repeated + inserted.repeated,
        "enrichments": batch.enrichments,
        "quarantined": len(bad),
    }
    await counters.add(tx, counts)
    return Stored(bad, inserted.stored, before, after, draining.designs.slow_ms)


async def _enrich(
    tx: AsyncConnection, batch: Batch, *, untouched: int
) -> tuple[Sequence[Facts], Sequence[Facts]]:
    """Apply the enrichments that are not in the rows yet, of this chunk and earlier ones.

    Args:
        untouched: How many of the batch's rows were not stored; were they there before,
            they do not have what the batch knows of them.

    Returns:
        The calls that changed: as they were, and as they are now.
    """
    late = {**batch.loose, **batch.extras} if untouched else batch.loose
    if late:
        await enrichments.keep(tx, late)
    if not late and not await enrichments.any_kept(tx):
        return (), ()
    due = await enrichments.due(tx, {*batch.rows, *late})
    watched = await totals.watch(tx, due)
    await enrichments.settle(tx, due)
    return await totals.changed(tx, watched)


@dataclass(frozen=True, slots=True)
class _Committed:
    """How far a segment is drained now, and whether it was our batch that got it there."""

    drained_bytes: int
    is_ours: bool
    quarantined: int = 0


async def _drain(draining: Draining, segment: Path, start: int) -> Position:
    present_end = await _size(segment)
    quarantined = 0
    batch = await _read(draining, segment, start)
    while not batch.is_empty:
        committed, ahead = await _commit_and_read_ahead(draining, segment, batch, present_end)
        if committed is None:  # another drain is at it
            return Position(batch.start, quarantined=quarantined)
        start = committed.drained_bytes
        quarantined += committed.quarantined
        if committed.is_ours and batch.is_last:
            await _finish(draining, segment)
            return Position(start, is_gone=True, quarantined=quarantined)
        if committed.is_ours and start >= present_end:
            return Position(start, quarantined=quarantined)
        if ahead is None or ahead.start != start:  # another drain was here
            ahead = await _read(draining, segment, start)
        batch = ahead
    return Position(batch.start, quarantined=quarantined)


async def _commit_and_read_ahead(
    draining: Draining, segment: Path, batch: Batch, present_end: int
) -> tuple[_Committed | None, Batch | None]:
    """Store a batch, and read the next one while PostgreSQL is at work.

    Returns:
        What `_commit` says, and the batch that follows if one is needed.
    """
    if batch.is_last or batch.end >= present_end:
        return await _commit(draining, segment, batch, _nothing), None
    # Not sooner: a thread that parses keeps all others waiting, and so would keep the
    # server from getting its work.
    is_copying: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def commit() -> _Committed | None:
        try:
            return await _commit(draining, segment, batch, lambda: is_copying.set_result(True))
        finally:
            if not is_copying.done():
                is_copying.set_result(False)

    async def read() -> Batch | None:
        return await _read(draining, segment, batch.end) if await is_copying else None

    # Both are at an end before either is judged.
    committed, ahead = await asyncio.gather(commit(), read(), return_exceptions=True)
    if isinstance(committed, BaseException):
        raise committed
    if isinstance(ahead, BaseException):
        raise ahead
    return committed, ahead


def _nothing() -> None:
    """Do nothing."""


async def _size(segment: Path) -> int:
    return (await asyncio.to_thread(segment.stat)).st_size


async def _read(draining: Draining, segment: Path, start: int) -> Batch:
    return await asyncio.to_thread(
        read_batch, segment, start, draining.now(), draining.chunk_bytes
    )


async def _commit(
    draining: Draining, segment: Path, batch: Batch, on_copy: Callable[[], None]
) -> _Committed | None:
    """Store a batch if the segment is drained exactly to its start; None if it is taken."""
    async with transaction(draining.engine) as tx:
        drained = await journal_segments.claim(tx, segment.name)
        if drained is None:
            return None
        # Whoever finishes a segment deletes the file before its row. So if there was no
        # row because the segment is finished, this raises, and our new row is undone.
        drained = drained if drained <= await _size(segment) else 0
        if drained != batch.start:
            return _Committed(drained, is_ours=False)
        stored = await store_batch(tx, batch, draining, on_copy)
        if bad := stored.bad:
            quarantine = draining.volume.quarantine
            await asyncio.to_thread(put_aside, quarantine, segment.name, batch.start, bad)
        await journal_segments.advance(tx, segment.name, batch.end)
        await draining.count(tx, stored)
    draining.known.learn(batch.parts)
    return _Committed(batch.end, is_ours=True, quarantined=len(bad))


async def _finish(draining: Draining, segment: Path) -> None:
    """Delete a drained segment, then its row; killed in between, a row is left, no more."""
    await asyncio.to_thread(segment.unlink, missing_ok=True)
    async with transaction(draining.engine) as tx:
        await journal_segments.forget(tx, segment.name)
