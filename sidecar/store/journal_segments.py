"""How far is each segment of the journal drained?

The row of a segment is also its lock: whoever holds it drains the segment.
"""

from collections.abc import Collection

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.tables import journal_segments as segments


async def claim(tx: AsyncConnection, name: str) -> int | None:
    """Take a segment for this transaction.

    Returns:
        The offset up to which it is drained; None when another transaction has it.
    """
    statement = (
        select(segments.c.drained_bytes)
        .where(segments.c.name == name)
        .with_for_update(skip_locked=True)
    )
    drained = (await tx.execute(statement)).scalar_one_or_none()
    if drained is not None:
        return int(drained)
    # Either nobody has seen the segment yet, or its row is locked.
    added = (
        upsert(segments)
        .values(name=name, drained_bytes=0)
        .on_conflict_do_nothing()
        .returning(segments.c.drained_bytes)
    )
    return None if (await tx.execute(added)).first() is None else 0


async def advance(tx: AsyncConnection, name: str, drained_bytes: int) -> None:
    """State how far a claimed segment is drained now."""
    await tx.execute(
        update(segments).where(segments.c.name == name).values(drained_bytes=drained_bytes)
    )


async def forget(tx: AsyncConnection, name: str) -> None:
    """Strike out a segment whose file is gone."""
    await tx.execute(delete(segments).where(segments.c.name == name))


async def drained(tx: AsyncConnection, names: Collection[str]) -> dict[str, int]:
    """Tell how far segments are drained; one that nobody has seen is absent."""
    statement = select(segments.c.name, segments.c.drained_bytes)
    rows = await tx.execute(statement.where(segments.c.name.in_(list(names))))
    return {str(name): int(offset) for name, offset in rows}
