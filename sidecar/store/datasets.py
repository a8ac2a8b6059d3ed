"""Where are datasets kept? With their rows, which nothing changes any more.

A dataset's rows are gathered in a table of the transaction's own until it is known which of
them stay and where they go; then they are all written at once.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import asyncpg
from sqlalchemy import select, text, true
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.datasets import Row
from sidecar.store.learned import dataset_rows, datasets
from sidecar.store.paging import newest

_GATHERED = (
    "item", "call_id", "label", "prompt", "tools", "chosen", "rejected", "is_good",
)  # fmt: skip
_PLACED = ("item", "position", "split")
_FIRST = """
CREATE TEMPORARY TABLE gathered_rows (item bigint, call_id text, label text, prompt bytea,
    tools bytea, chosen bytea, rejected bytea, is_good boolean) ON COMMIT DROP"""
_SECOND = """
CREATE TEMPORARY TABLE placed_rows (item bigint, position integer, split text)
    ON COMMIT DROP"""
_PLACE = """
INSERT INTO dataset_rows (number, position, split, call_id, label, prompt, tools, chosen,
    rejected, is_good)
SELECT :number, position, split, call_id, label, prompt, tools, chosen, rejected, is_good
FROM gathered_rows JOIN placed_rows USING (item) ORDER BY position"""
_SOME = 2_000  # rows read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """A dataset to be kept.

    Args:
        id: Begins like `hash`, which is SHA-256 (hex) of the rows.
        spec: What was asked for. `manifest`: what came of it.
    """

    id: str
    hash: str
    project_id: str
    kind: str
    spec: Mapping[str, Any]
    manifest: Mapping[str, Any]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(NewDataset):
    """A dataset that is kept.

    Args:
        number: Its place among all, by which its rows are found.
    """

    number: int


async def begin(tx: AsyncConnection) -> None:
    """Make room for rows; it is gone with the transaction."""
    await tx.execute(text(_FIRST))


async def gather(tx: AsyncConnection, items: Sequence[int], rows: Sequence[Row]) -> None:
    """Put rows aside, each under its item's number."""
    records = [
        (item, *(getattr(row, name) for name in _GATHERED[1:]))
        for item, row in zip(items, rows, strict=True)
    ]
    await _copy(tx, "gathered_rows", _GATHERED, records)


async def add(tx: AsyncConnection, new: NewDataset) -> int | None:
    """Store a dataset without its rows; waits for one of the same content.

    Returns:
        Its number; None when there is one of that content already.
    """
    values = {name: getattr(new, name) for name in NewDataset.__slots__}
    statement = upsert(datasets).values(**values).on_conflict_do_nothing()
    found = await tx.execute(statement.returning(datasets.c.number))
    number: int | None = found.scalar_one_or_none()
    return number


async def place(
    tx: AsyncConnection, number: int, items: Sequence[int], splits: Sequence[str]
) -> None:
    """Store the rows that were put aside under these items, in this order."""
    await tx.execute(text(_SECOND))
    placed = [
        (item, position, split)
        for position, (item, split) in enumerate(zip(items, splits, strict=True))
    ]
    await _copy(tx, "placed_rows", _PLACED, placed)
    await tx.execute(text("ANALYZE placed_rows"))
    await tx.execute(text(_PLACE), {"number": number})


async def get(tx: AsyncConnection, dataset_id: str) -> Dataset | None:
    """Fetch a dataset; None when there is none."""
    statement = select(datasets).where(datasets.c.id == dataset_id)
    found = (await tx.execute(statement)).mappings().one_or_none()
    return None if found is None else Dataset(**found)


async def largest_holdout(tx: AsyncConnection, project_id: str) -> float | None:
    """Give the largest share that a dataset of a project held out; None without datasets."""
    statement = text(
        "SELECT max(CAST(spec->>'holdout' AS double precision)) FROM datasets "
        "WHERE project_id = :project_id"
    )
    found = await tx.execute(statement, {"project_id": project_id})
    share: float | None = found.scalar_one()
    return share


async def page(
    tx: AsyncConnection, project_id: str | None, *, before: int | None, limit: int
) -> list[Dataset]:
    """List datasets, newest first.

    Args:
        project_id: None for those of all projects.
        before: Only those of a smaller number; None for the first page.
    """
    wanted = true() if project_id is None else datasets.c.project_id == project_id
    rows = await newest(tx, datasets.c.number, wanted, before=before, limit=limit)
    return [Dataset(**row) for row in rows]


async def schema_revision(tx: AsyncConnection) -> str:
    """Say which migration the database is at."""
    found = await tx.execute(text("SELECT version_num FROM alembic_version"))
    return str(found.scalar_one())


async def rows(tx: AsyncConnection, number: int) -> AsyncIterator[list[Row]]:
    """Read a dataset's rows in order, some at a time."""
    columns = [dataset_rows.c[name] for name in Row.__slots__]
    last = -1
    while True:
        statement = select(dataset_rows.c.position, *columns).where(
            dataset_rows.c.number == number, dataset_rows.c.position > last
        )
        statement = statement.order_by(dataset_rows.c.position).limit(_SOME)
        found = (await tx.execute(statement)).mappings().all()
        if not found:
            return
        last = found[-1]["position"]
        yield [Row(**{name: each[name] for name in Row.__slots__}) for each in found]


async def count_calls(tx: AsyncConnection, number: int) -> tuple[int, int]:
    """Count the different calls of a dataset's rows, and how many of them still exist."""
    statement = text(
        """
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT FROM calls WHERE calls.call_id = used.call_id))
        FROM (SELECT DISTINCT call_id FROM dataset_rows WHERE number = :number) AS used
        """
    )
    used, existing = (await tx.execute(statement, {"number": number})).one()
    return used, existing


async def _copy(
    tx: AsyncConnection, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]
) -> None:
    """Run asyncpg's COPY, which SQLAlchemy does not offer."""
    connection = cast("asyncpg.Connection", (await tx.get_raw_connection()).driver_connection)
    await connection.copy_records_to_table(table, records=records, columns=columns)
