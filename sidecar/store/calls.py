"""How do calls get into their table, and out of it again?

In by COPY, thousands at a time; a call id that is there already is left alone. Out one by
one, or by pages from the newest on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
from sqlalchemy import ColumnElement, RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.recorded import CallFilter, RecordedCall
from sidecar.store.tables import calls

Row = tuple[object, ...]
"""Values in the order of `COLUMNS`."""

COLUMNS = tuple(column.name for column in calls.columns)
JSON_COLUMNS = ("attempts", "metadata")  # given as JSON text

# What PostgreSQL, or asyncpg on the way to it, says of a row that no retry will improve.
_UNSTORABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    TypeError,
    ValueError,
    OverflowError,
)
_TEXTS = ("request", "answer")
_UNTOLD = (*_TEXTS, "ll", "ttft_ll")  # the logarithms are for sums
_LISTED = [column for column in calls.columns if column.name not in _UNTOLD]


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of some rows.

    Args:
        stored: The rows that were new.
        repeated: How many call ids were there already.
        refused: Rows that PostgreSQL will not take, each with the class of its error.
    """

    stored: tuple[Row, ...] = ()
    repeated: int = 0
    refused: tuple[tuple[Row, str], ...] = ()

    def __add__(self, other: "Inserted") -> "Inserted":
        return Inserted(
            self.stored + other.stored,
            self.repeated + other.repeated,
            self.refused + other.refused,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A row of `calls`.

    Args:
        call: Values by the fields of `RecordedCall`.
        skeleton: Of the request, see `core.contents`.
        answer: JSON.
    """

    call: Mapping[str, Any]
    skeleton: bytes
    answer: bytes


async def insert(
    tx: AsyncConnection, rows: Sequence[Row], storable: Callable[[Row], Row]
) -> Inserted:
    """Store the rows whose call ids are new, as many of them as PostgreSQL takes.

    The months of all rows must exist, and the transaction have had a statement.

    Args:
        storable: Makes a row fit when it can; asked only when PostgreSQL has refused some.
    """
    if not rows:
        return Inserted()
    try:
        return await _copy(tx, rows)
    except _UNSTORABLE:
        return await _insert_good(tx, [storable(row) for row in rows])


async def _insert_good(tx: AsyncConnection, rows: Sequence[Row]) -> Inserted:
    """Store what can be stored: a bad row spoils a COPY, and halving finds it."""
    try:
        return await _copy(tx, rows)
    except _UNSTORABLE as error:
        if len(rows) == 1:
            return Inserted(refused=((rows[0], type(error).__name__),))
    middle = len(rows) // 2
    return await _insert_good(tx, rows[:middle]) + await _insert_good(tx, rows[middle:])


async def get(tx: AsyncConnection, call_id: str) -> Found | None:
    """Fetch a call; None when it is unknown.

    Raises:
        Invalid: This is no call id.
    """
    statement = select(calls).where(
        calls.c.call_id == call_id, calls.c.started_at == started_at_of(call_id)
    )
    found = (await tx.execute(statement)).mappings().one_or_none()
    if found is None:
        return None
    return Found(_values(found), bytes(found["request"]), bytes(found["answer"]))


async def page(
    tx: AsyncConnection, only: CallFilter, *, before: str | None, limit: int
) -> list[RecordedCall]:
    """List calls, newest first.

    Args:
        before: Only what is older than this call.

    Raises:
        Invalid: `before` is no call id.
    """
    wanted: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (calls.c.project_id, only.project_id),
            (calls.c.experiment_id, only.experiment_id),
            (calls.c.group_name, only.group),
            (calls.c.assigned_arm, only.arm),
            (calls.c.outcome, only.outcome),
        )
        if value is not None
    ]
    if before is not None:
        # Ids sort by time, so the first says it all; the second rules out whole months.
        wanted += [calls.c.call_id < before, calls.c.started_at <= started_at_of(before)]
    statement = select(*_LISTED).where(*wanted).order_by(calls.c.call_id.desc()).limit(limit)
    rows = (await tx.execute(statement)).mappings()
    return [RecordedCall(**_values(found)) for found in rows]


async def _copy(tx: AsyncConnection, rows: Sequence[Row]) -> Inserted:
    try:
        async with tx.begin_nested():
            await _copy_into(tx, "calls", rows)
        return Inserted(stored=tuple(rows))
    except asyncpg.UniqueViolationError:
        async with tx.begin_nested():
            stored = await _copy_new(tx, rows)
        return Inserted(stored=stored, repeated=len(rows) - len(stored))


async def _copy_new(tx: AsyncConnection, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Store the rows that are not there yet; returns these."""
    # With the defaults, for `calls` may have columns that are not copied.
    create = "CREATE TEMPORARY TABLE arriving (LIKE calls INCLUDING DEFAULTS) ON COMMIT DROP"
    await tx.execute(text(create))
    await _copy_into(tx, "arriving", rows)
    names = ", ".join(COLUMNS)
    done = await tx.execute(
        text(
            f"INSERT INTO calls ({names}) SELECT {names} FROM arriving "  # noqa: S608
            "ON CONFLICT DO NOTHING RETURNING call_id"
        )
    )
    new = set(done.scalars())
    await tx.execute(text("DROP TABLE arriving"))
    return tuple(row for row in rows if row[0] in new)


async def _copy_into(tx: AsyncConnection, table: str, rows: Sequence[Row]) -> None:
    """Run asyncpg's COPY, which SQLAlchemy does not offer.

    SQLAlchemy begins a transaction with its own first statement: there must have been one.
    """
    connection = cast("asyncpg.Connection", (await tx.get_raw_connection()).driver_connection)
    await connection.copy_records_to_table(table, records=rows, columns=COLUMNS)


def _values(found: RowMapping) -> dict[str, Any]:
    values: dict[str, Any] = {name: found[name] for name in COLUMNS if name not in _UNTOLD}
    values["group"] = values.pop("group_name")
    values["request_hash"] = values["request_hash"].hex()
    return values
