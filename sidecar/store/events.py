"""Who changed what, when and why? The append-only audit; PostgreSQL refuses all else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.paging import newest
from sidecar.store.tables import events

PUBLISHER = "publisher"  # the actor of what follows from the YAML
_LOCK_KEY = 0x510_0003  # of the advisory lock under which routes are changed


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as it was made.

    Args:
        subject: `experiment:<id>`, `model:<name>` or `key:<id>`.
        actor: `admin`, `key:<id>` or `publisher`.
    """

    id: int
    subject: str
    action: str
    actor: str
    reason: str | None
    detail: Mapping[str, object]
    at: datetime


@dataclass(frozen=True, slots=True)
class By:
    """Who makes a change, when, and why."""

    actor: str
    now: datetime
    reason: str | None = None


async def take_turn(tx: AsyncConnection) -> None:
    """Wait until nobody else changes or publishes routes; holds until the transaction ends.

    One at a time, so that events are committed in the order of their ids (see `latest`),
    and two changes cannot both find that there was room for them.
    """
    await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


async def add(
    tx: AsyncConnection, subject: str, action: str, by: By, detail: Mapping[str, object]
) -> None:
    """Note a change; the transaction has taken its turn."""
    await tx.execute(
        insert(events).values(
            subject=subject,
            action=action,
            actor=by.actor,
            reason=by.reason,
            detail=dict(detail),
            at=by.now,
        )
    )


async def latest(tx: AsyncConnection) -> int:
    """Return the id of the last change that did not come from publishing; 0 for none.

    Whoever sees it rise must publish. Publishing itself is left out, or two sidecars
    would keep waking each other.
    """
    statement = (
        select(events.c.id)
        .where(events.c.actor != PUBLISHER)
        .order_by(events.c.id.desc())
        .limit(1)
    )
    return (await tx.execute(statement)).scalar_one_or_none() or 0


async def page(
    tx: AsyncConnection, subject: str, *, before: int | None, limit: int
) -> list[Event]:
    """List the changes of one subject, newest first.

    Args:
        before: Only what is older than this event.
    """
    rows = await newest(
        tx, events.c.id, events.c.subject == subject, before=before, limit=limit
    )
    return [Event(**row) for row in rows]
