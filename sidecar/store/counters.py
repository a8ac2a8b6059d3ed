"""What has been counted, and by whom? Sums that only grow, and dead workers' last numbers."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.tables import counters, workers


async def add(tx: AsyncConnection, counts: Mapping[str, int]) -> None:
    """Count. The rows stay locked until the end of the transaction: do this last."""
    names = sorted(name for name, count in counts.items() if count)
    if not names:
        return
    await tx.execute(
        text(
            "INSERT INTO counters AS kept (name, value) "
            "SELECT * FROM unnest(CAST(:names AS text[]), CAST(:counts AS bigint[])) "
            "ON CONFLICT (name) DO UPDATE SET value = kept.value + excluded.value"
        ),
        {"names": names, "counts": [counts[name] for name in names]},
    )


async def get(tx: AsyncConnection) -> dict[str, int]:
    """Read every counter; one that never counted is absent."""
    rows = await tx.execute(select(counters.c.name, counters.c.value))
    return {str(name): int(value) for name, value in rows}


async def bury(
    tx: AsyncConnection, writer: str, gauges: Mapping[str, int], *, now: datetime
) -> bool:
    """Keep a dead worker's last numbers.

    Returns:
        Whether they were new; False when they are kept already.
    """
    statement = (
        insert(workers)
        .values(writer=writer, ended_at=now, gauges=dict(gauges))
        .on_conflict_do_nothing()
        .returning(workers.c.writer)
    )
    return (await tx.execute(statement)).first() is not None


async def buried(tx: AsyncConnection, writers: Collection[str]) -> set[str]:
    """Tell which of these workers' last numbers are kept."""
    statement = select(workers.c.writer).where(workers.c.writer.in_(list(writers)))
    return {str(writer) for (writer,) in await tx.execute(statement)}
