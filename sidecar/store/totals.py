"""Where are the exact totals kept, and how do they change? By additions, a set at a time."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.cells import Cell
from sidecar.core.errors import Unavailable
from sidecar.core.facts import CellKey
from sidecar.core.tallies import Epoch, UnitKey, Weighted
from sidecar.core.totals import UnitVector

_LOCK_CLASS = 0x510_0006  # of the advisory locks under which totals change

_LOCK = text("SELECT pg_advisory_xact_lock(:class, key) FROM unnest(CAST(:keys AS int[])) key")
_SLOW = text(
    """
    SELECT experiment_id, epoch, CAST(plan ->> 'slow_ms' AS double precision)
    FROM epochs JOIN unnest(CAST(:experiments AS text[]), CAST(:epochs AS int[]))
        AS sought (experiment_id, epoch) USING (experiment_id, epoch)
    WHERE plan ->> 'slow_ms' IS NOT NULL
    """
)
# The numbers go as text, which PostgreSQL reads sooner than asyncpg makes decimals of them.
_ADD = """
    INSERT INTO totals AS kept (experiment_id, epoch, stage, arm, name, value)
    SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[],
        $6::text[]::numeric[])
    ON CONFLICT (experiment_id, epoch, stage, arm, name)
        DO UPDATE SET value = kept.value + excluded.value
    """
# Of the units in all their arms: whether one comes to be in a second is asked as well.
_UNITS = f"""
    SELECT ctid, unit_id, arm, {", ".join(UnitVector._fields)} FROM unit_totals
    WHERE experiment_id = $1 AND epoch = $2 AND stage = $3 AND unit_id = ANY($4::text[])
    """  # noqa: S608 - names of ours
# By their places on the disk, which stay while the experiment is locked: looking rows up by
# their key once more takes three times as long.
_ADD_UNITS = """
    UPDATE unit_totals AS kept SET {additions}
    FROM unnest($1::tid[], {arrays}) AS added (place, {names}) WHERE kept.ctid = added.place
    """
_UNIT_COLUMNS = ("experiment_id", "epoch", "stage", "arm", "unit_id", *UnitVector._fields)
_ADD_VALUES = text(
    """
    INSERT INTO unit_values AS kept
        (experiment_id, epoch, stage, arm, unit_id, name, w, wv)
    SELECT * FROM unnest(
        CAST(:experiments AS text[]), CAST(:epochs AS int[]), CAST(:stages AS int[]),
        CAST(:arms AS text[]), CAST(:units AS text[]), CAST(:names AS text[]),
        CAST(:w AS numeric[]), CAST(:wv AS numeric[]))
    ON CONFLICT (experiment_id, epoch, stage, unit_id, arm, name) DO UPDATE SET
        w = kept.w + excluded.w, wv = kept.wv + excluded.wv
    RETURNING experiment_id, epoch, stage, arm, unit_id, name, w, wv
    """
)
_CELLS = "SELECT stage, arm, name, value FROM totals WHERE experiment_id = $1 AND epoch = $2"
_CELL = ("experiments", "epochs", "stages", "arms")


async def lock(tx: AsyncConnection, experiment_ids: Iterable[str]) -> None:
    """Let nobody else change the totals of some experiments until the transaction ends.

    Take no other lock after this one: whoever waits here holds the rows it has changed.
    """
    # Sorted, so that two with several experiments each do not wait for each other.
    keys = sorted({_lock_key(experiment_id) for experiment_id in experiment_ids})
    await tx.execute(_LOCK, {"class": _LOCK_CLASS, "keys": keys})


async def slow_limits(tx: AsyncConnection, wanted: Iterable[Epoch]) -> dict[Epoch, float]:
    """Fetch what counts as slow, in ms, in those epochs whose plan says it."""
    found = await tx.execute(_SLOW, _arrays(("experiments", "epochs"), wanted))
    return {(row[0], row[1]): row[2] for row in found}


async def add(tx: AsyncConnection, changes: Mapping[CellKey, Mapping[str, int]]) -> None:
    """Add to the totals of cells; the transaction has locked their experiments."""
    rows = [
        (*cell, name, str(value))
        for cell in sorted(changes)
        for name, value in sorted(changes[cell].items())
        if value
    ]
    if rows:
        await (await driver(tx)).execute(_ADD, *map(list, zip(*rows, strict=True)))


async def add_units(
    tx: AsyncConnection, units: Mapping[UnitKey, UnitVector]
) -> dict[UnitKey, UnitVector]:
    """Add to what units are; the transaction has locked their experiments.

    Returns:
        What these units were before, in every arm of their stages that they were in.

    Raises:
        Unavailable: Somebody has changed one of them without the lock.
    """
    # As the drain does this for thousands, SQLAlchemy's rows would take half of the time.
    connection = await driver(tx)
    stages: dict[tuple[str, int, int], set[str]] = {}
    for key in units:
        stages.setdefault(key[:3], set()).add(key[4])
    was: dict[UnitKey, UnitVector] = {}
    places: dict[UnitKey, object] = {}
    for stage, unit_ids in stages.items():
        for found in await connection.fetch(_UNITS, *stage, sorted(unit_ids)):
            place, unit_id, arm, *vector = found
            key = (*stage, arm, unit_id)
            was[key], places[key] = UnitVector._make(vector), place
    # Most are new, and a COPY stores them at a third of the price. Were one of them there
    # after all, it would break the transaction off.
    new = [(*key, *units[key]) for key in sorted(units.keys() - was.keys(), key=_in_index)]
    if new:
        await connection.copy_records_to_table(
            "unit_totals", records=new, columns=_UNIT_COLUMNS
        )
    known = sorted(units.keys() & was.keys())
    if known:
        await _add_at(connection, [places[key] for key in known], [units[key] for key in known])
    return was


async def add_values(
    tx: AsyncConnection, values: Mapping[tuple[UnitKey, str], Weighted]
) -> dict[tuple[UnitKey, str], Weighted]:
    """Add to the named values of units, and return what they are since."""
    if not values:
        return {}
    rows = [(*unit, name, *values[unit, name]) for unit, name in sorted(values)]
    found = await tx.execute(_ADD_VALUES, _arrays((*_CELL, "units", "names", "w", "wv"), rows))
    return {(tuple(row[:5]), row[5]): (int(row[6]), int(row[7])) for row in found}


async def of_epoch(
    tx: AsyncConnection, experiment_id: str, epoch: int
) -> dict[tuple[int, str], Cell]:
    """Fetch an epoch's cells by stage and arm; one without a call is absent.

    The transaction must have had a statement, see `driver`.
    """
    cells: dict[tuple[int, str], dict[str, int]] = {}
    # As it is for units: of a thousand rows, SQLAlchemy's would be most of the time.
    for stage, arm, name, value in await (await driver(tx)).fetch(_CELLS, experiment_id, epoch):
        cells.setdefault((stage, arm), {})[name] = int(value)
    return {place: Cell(found) for place, found in cells.items()}


async def driver(tx: AsyncConnection) -> asyncpg.Connection:
    """Reach asyncpg's own connection; the transaction must have had a statement.

    SQLAlchemy begins a transaction with its own first one.
    """
    return cast("asyncpg.Connection", (await tx.get_raw_connection()).driver_connection)


async def _add_at(
    connection: asyncpg.Connection, places: Sequence[object], more: Sequence[UnitVector]
) -> None:
    """Add to the units that are in some places.

    Raises:
        Unavailable: Somebody has changed one without the lock.
    """
    columns = dict(zip(UnitVector._fields, zip(*more, strict=True), strict=True))
    changing = {name: column for name, column in columns.items() if any(column)}
    if not changing:
        return
    done = await connection.execute(_adding(tuple(changing)), places, *changing.values())
    if done != f"UPDATE {len(places)}":
        msg = f"{len(places)} units were to be added to, found {done!r}; repeat it"
        raise Unavailable(msg)


def _in_index(key: UnitKey) -> tuple[str, int, int, str, str]:
    """Give what the index of units goes by."""
    experiment_id, epoch, stage, arm, unit_id = key
    return experiment_id, epoch, stage, unit_id, arm


@cache
def _adding(names: tuple[str, ...]) -> str:
    """Write the statement that adds to some columns of units.

    The fewer arrays there are, the less there is to send and to read.
    """
    return _ADD_UNITS.format(
        names=", ".join(names),
        arrays=", ".join(f"${place}::bigint[]" for place, _ in enumerate(names, 2)),
        additions=", ".join(f"{name} = kept.{name} + added.{name}" for name in names),
    )


def _lock_key(experiment_id: str) -> int:
    digest = hashlib.sha256(experiment_id.encode()).digest()
    return int.from_bytes(digest[:4], signed=True)


def _arrays(names: Iterable[str], rows: Iterable[Iterable[object]]) -> dict[str, object]:
    """Give rows as arrays, one a column: a statement takes any number of them."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
