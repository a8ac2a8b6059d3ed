"""How is an append-only table read a page at a time? By its numbers, from the newest on."""

from collections.abc import Sequence

from sqlalchemy import Column, ColumnElement, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection


async def newest(
    tx: AsyncConnection,
    number: Column[int],
    wanted: ColumnElement[bool],
    *,
    before: int | None,
    limit: int,
) -> Sequence[RowMapping]:
    """Fetch the newest rows that are wanted, newest first.

    Args:
        number: The table's key, which rises with time.
        before: Only what is older than the row of this number.
    """
    statement = select(number.table).where(wanted)
    if before is not None:
        statement = statement.where(number < before)
    found = await tx.execute(statement.order_by(number.desc()).limit(limit))
    return found.mappings().all()
