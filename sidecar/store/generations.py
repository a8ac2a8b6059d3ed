"""Which routing tables were published? One row each, with all that was in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.routing import RoutingTable
from sidecar.handoff.routes import from_document, to_document
from sidecar.store.tables import generations


@dataclass(frozen=True, slots=True)
class Generation:
    """A published table.

    Args:
        config: The YAML's part of its sources, without keys.
    """

    table: RoutingTable
    config: Mapping[str, Any]
    published_at: datetime


async def add(
    tx: AsyncConnection, table: RoutingTable, config: Mapping[str, Any], now: datetime
) -> None:
    """Store a table that is about to be published."""
    await tx.execute(
        insert(generations).values(
            number=table.generation,
            hash=table.hash,
            routes=to_document(table),
            config=dict(config),
            published_at=now,
        )
    )


async def latest(tx: AsyncConnection) -> Generation | None:
    """Fetch the table that is in force; None when nothing was published yet."""
    statement = select(generations).order_by(generations.c.number.desc()).limit(1)
    found = (await tx.execute(statement)).mappings().one_or_none()
    if found is None:
        return None
    return Generation(from_document(found["routes"]), found["config"], found["published_at"])


async def number(tx: AsyncConnection) -> int | None:
    """Return the number of the table that is in force; None when nothing was published."""
    statement = select(generations.c.number).order_by(generations.c.number.desc()).limit(1)
    found: int | None = (await tx.execute(statement)).scalar_one_or_none()
    return found
