"""How is an append-only table read a page at a time? By its ids, from the newest on."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection


async def newest(
    tx: AsyncConnection,
    table: Table,
    wanted: ColumnElement[bool],
    *,
    before: int | None,
    limit: int,
) -> Sequence[RowMapping]:
    """Fetch the newest rows that are wanted, newest first.

    Args:
        table: Its ids rise with time.
        before: Only what is older than the row of this id.
    """
    statement = select(table).where(wanted)
    if before is not None:
        statement = statement.where(table.c.id < before)
    found = await tx.execute(statement.order_by(table.c.id.desc()).limit(limit))
    return found.mappings().all()
