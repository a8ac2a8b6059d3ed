"""Which requests were answered already? So that a repeated one creates nothing twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.tables import idempotency_keys


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, and its answer.

    Args:
        request_hash: SHA-256 (hex) of method, path and body.
        status: HTTP status.
    """

    request_hash: str
    status: int
    response: Mapping[str, Any]


async def find(tx: AsyncConnection, key: str, actor: str) -> Answered | None:
    """Look up what the same actor was answered under the same key."""
    columns = idempotency_keys.c
    statement = select(columns.request_hash, columns.status, columns.response).where(
        columns.key == key, columns.actor == actor
    )
    found = (await tx.execute(statement)).mappings().one_or_none()
    return None if found is None else Answered(**found)


async def add(
    tx: AsyncConnection, key: str, actor: str, answered: Answered, now: datetime
) -> None:
    """Keep an answer."""
    await tx.execute(
        insert(idempotency_keys).values(
            key=key,
            actor=actor,
            request_hash=answered.request_hash,
            status=answered.status,
            response=dict(answered.response),
            created_at=now,
        )
    )


async def forget_before(tx: AsyncConnection, moment: datetime) -> None:
    """Remove answers older than a moment."""
    await tx.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < moment))
