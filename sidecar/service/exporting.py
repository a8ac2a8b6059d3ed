"""How does a dataset leave as a trainer's file, however large, with little memory?

Rows are fetched, written and sent piece by piece. What any row fits is sent at once. What a
row may not fit, and a table, is written to a temporary file first, so that a refusal comes
before the first byte.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.datasets import Kind, Split
from sidecar.core.errors import Unavailable
from sidecar.core.formats import (
    CHOOSY,
    COLUMNS,
    Format,
    certain,
    check_rows,
    check_split,
    layout,
)
from sidecar.core.layouts import Print
from sidecar.core.turns import Inexpressible
from sidecar.integrations import parquet
from sidecar.service import datasets
from sidecar.service.spooling import read, size_of, spooled
from sidecar.store import exporting as store
from sidecar.store.database import transaction

RETRY_AFTER_S = (0.2, 1.0, 3.0)  # a server that restarts is back by then
JSONL = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class Export:
    """What is sent.

    Args:
        rows: How many there are: a file with fewer lines is not whole.
        size_bytes: None when it is not known before the end.
        name: What to call the file.
    """

    pieces: AsyncIterator[bytes]
    rows: int
    size_bytes: int | None
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be exported, after everything was checked that can be."""

    dataset_id: str
    number: int
    kind: Kind
    split: Split
    form: Format
    rows: int


async def plan(
    tx: AsyncConnection,
    dataset_id: str,
    form: Format,
    split: Split,
    *,
    project_id: str | None = None,
) -> Plan:
    """Check that a dataset can be exported so.

    Args:
        project_id: Who asks sees only this project's datasets; None for all.

    Raises:
        NotFound: There is no such dataset, or it is another project's.
        Invalid: The format cannot hold such a dataset.
        Conflict: The split is the holdout, or too small for the provider.
        Unavailable: What writes Parquet is not installed.
    """
    found = await datasets.get(tx, dataset_id, project_id=project_id)
    check_split(split)
    kind = Kind(found.kind)
    layout(form, kind)
    rows = found.manifest["rows"][split]
    check_rows(form, split, rows)
    if form is Format.PARQUET:
        parquet.check_installed()
    return Plan(dataset_id, found.number, kind, split, form, rows)


async def export(engine: AsyncEngine, planned: Plan) -> Export:
    """Begin to export; a connection is held only while rows are fetched.

    Raises:
        Inexpressible: The format has no place for something that a row says.
        Unavailable: PostgreSQL, or what writes Parquet, is.
    """
    name = f"{planned.dataset_id}.{planned.split}.{planned.form}"
    lines = _lines(engine, planned)
    if planned.form not in CHOOSY:
        return Export(lines, planned.rows, None, f"{name}.jsonl", JSONL)
    columns = COLUMNS[planned.kind] if planned.form is Format.PARQUET else None
    file = await spooled(lines, columns)
    size = size_of(file)
    if columns is None:
        return Export(read(file), planned.rows, size, f"{name}.jsonl", JSONL)
    name = f"{planned.dataset_id}.{planned.split}.parquet"
    return Export(read(file), planned.rows, size, name, PARQUET)


async def _lines(engine: AsyncEngine, planned: Plan) -> AsyncIterator[bytes]:
    """Give the lines of all rows, piece by piece; the next rows are fetched meanwhile."""

    async def fetch(after: int) -> Sequence[Sequence[Any]]:
        for wait_s in RETRY_AFTER_S:
            try:
                return await fetch_once(after)
            except Unavailable:  # a piece depends on nothing but where it begins
                await asyncio.sleep(wait_s)
        return await fetch_once(after)

    async def fetch_once(after: int) -> Sequence[Sequence[Any]]:
        async with transaction(engine) as tx:
            return await store.rows(tx, planned.number, planned.split, after)

    write = layout(planned.form, planned.kind)
    coming = asyncio.create_task(fetch(-1))
    try:
        while rows := await coming:
            coming = asyncio.create_task(fetch(rows[-1][0]))
            yield _written(write, rows, planned)
    finally:
        coming.cancel()  # who reads may have gone
        await asyncio.gather(coming, return_exceptions=True)


def _written(write: Print, rows: Iterable[Sequence[Any]], planned: Plan) -> bytes:
    position = -1
    try:
        lines = []
        for position, prompt, tools, chosen, rejected, is_good in rows:  # noqa: B007 (told)
            lines.append(write((prompt, tools, chosen, rejected, is_good)))
    except Inexpressible as error:
        others = ", ".join(certain(planned.kind))
        msg = f"row {position} does not fit {planned.form}: {error}; {others} would take it"
        raise Inexpressible(msg) from error
    return b"".join(lines)
