"""Where are the exact totals kept, and how do they change? By additions, a set at a time."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

import asyncpg
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.cells import Cell
from sidecar.core.facts import CellKey
from sidecar.core.tallies import Epoch, UnitKey, Weighted
from sidecar.core.totals import UnitVector
from sidecar.store.measured import totals

Unit = tuple[str, int, int, str]
"""Experiment, epoch, stage and unit, in whichever arms it is."""

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
_ADD = text(
    """
    INSERT INTO totals AS kept (experiment_id, epoch, stage, arm, name, value)
    SELECT * FROM unnest(
        CAST(:experiments AS text[]), CAST(:epochs AS int[]), CAST(:stages AS int[]),
        CAST(:arms AS text[]), CAST(:names AS text[]), CAST(:values AS numeric[]))
    ON CONFLICT (experiment_id, epoch, stage, arm, name)
        DO UPDATE SET value = kept.value + excluded.value
    """
)
_ADD_UNITS = """
    INSERT INTO unit_totals AS kept
        (experiment_id, epoch, stage, arm, unit_id, {names})
    SELECT $1, $2, $3, $4, added.*{zeros} FROM unnest($5::text[], {arrays}) AS added
    ON CONFLICT (experiment_id, epoch, stage, unit_id, arm) DO UPDATE SET {additions}
    RETURNING unit_id, n, bad, slow, ll, cost, w, wy
    """
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
_ARMS = """
    SELECT unit_id, array_agg(arm) FROM unit_totals
    WHERE experiment_id = $1 AND epoch = $2 AND stage = $3 AND unit_id = ANY($4::text[])
    GROUP BY unit_id HAVING count(*) > 1
    """
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
        (*cell, name, value)
        for cell in sorted(changes)
        for name, value in sorted(changes[cell].items())
        if value
    ]
    if rows:
        await tx.execute(_ADD, _arrays((*_CELL, "names", "values"), rows))


async def add_units(
    tx: AsyncConnection, units: Mapping[UnitKey, UnitVector]
) -> dict[UnitKey, UnitVector]:
    """Add to what units are, and return what they are since."""
    # As the drain does this for thousands, SQLAlchemy's rows would take half of the time.
    connection = await driver(tx)
    cells: dict[tuple[str, int, int, str], list[UnitKey]] = {}
    for key in sorted(units):
        cells.setdefault(key[:4], []).append(key)
    now: dict[UnitKey, UnitVector] = {}
    for cell, keys in cells.items():
        columns = zip(*[units[key] for key in keys], strict=True)
        changing = {
            name: column
            for name, column in zip(UnitVector._fields, columns, strict=True)
            if any(column)
        }
        found = await connection.fetch(
            _adding(tuple(changing)), *cell, [key[4] for key in keys], *changing.values()
        )
        now |= {(*cell, row[0]): UnitVector._make(row[1:]) for row in found}
    return now


async def add_values(
    tx: AsyncConnection, values: Mapping[tuple[UnitKey, str], Weighted]
) -> dict[tuple[UnitKey, str], Weighted]:
    """Add to the named values of units, and return what they are since."""
    if not values:
        return {}
    rows = [(*unit, name, *values[unit, name]) for unit, name in sorted(values)]
    found = await tx.execute(_ADD_VALUES, _arrays((*_CELL, "units", "names", "w", "wv"), rows))
    return {(tuple(row[:5]), row[5]): (int(row[6]), int(row[7])) for row in found}


async def arms_of(tx: AsyncConnection, units: Iterable[Unit]) -> dict[Unit, list[str]]:
    """Fetch the arms of those units that are in more than one."""
    connection = await driver(tx)
    stages: dict[tuple[str, int, int], list[str]] = {}
    for unit in units:
        stages.setdefault(unit[:3], []).append(unit[3])
    return {
        (*stage, row[0]): row[1]
        for stage, unit_ids in stages.items()
        for row in await connection.fetch(_ARMS, *stage, unit_ids)
    }


async def of_epoch(
    tx: AsyncConnection, experiment_id: str, epoch: int
) -> dict[tuple[int, str], Cell]:
    """Fetch an epoch's cells by stage and arm; one without a call is absent."""
    statement = select(totals.c.stage, totals.c.arm, totals.c.name, totals.c.value).where(
        totals.c.experiment_id == experiment_id, totals.c.epoch == epoch
    )
    cells: dict[tuple[int, str], dict[str, int]] = {}
    for stage, arm, name, value in await tx.execute(statement):
        cells.setdefault((stage, arm), {})[name] = int(value)
    return {place: Cell(found) for place, found in cells.items()}


async def driver(tx: AsyncConnection) -> asyncpg.Connection:
    """Reach asyncpg's own connection; the transaction must have had a statement.

    SQLAlchemy begins a transaction with its own first one.
    """
    return cast("asyncpg.Connection", (await tx.get_raw_connection()).driver_connection)


@cache
def _adding(names: tuple[str, ...]) -> str:
    """Write the statement that adds to some columns of units; `n` need not be one.

    The fewer arrays there are, the less there is to send and to read.
    """
    others = [name for name in UnitVector._fields if name not in names]
    return _ADD_UNITS.format(
        names=", ".join((*names, *others)),
        zeros="".join(", 0" for _ in others),
        arrays=", ".join(f"${place}::bigint[]" for place, _ in enumerate(names, 6)),
        additions=", ".join(f"{name} = kept.{name} + excluded.{name}" for name in names),
    )


def _lock_key(experiment_id: str) -> int:
    digest = hashlib.sha256(experiment_id.encode()).digest()
    return int.from_bytes(digest[:4], signed=True)


def _arrays(names: Iterable[str], rows: Iterable[Iterable[object]]) -> dict[str, object]:
    """Give rows as arrays, one a column: a statement takes any number of them."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
