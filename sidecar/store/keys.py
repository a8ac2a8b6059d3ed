"""Where are API keys kept? Their digests; a key itself is nowhere."""

from datetime import datetime

from sqlalchemy import RowMapping, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import NotFound
from sidecar.core.keys import Key
from sidecar.core.routing import Caller
from sidecar.store.tables import keys

_SHOWN = [column for column in keys.columns if column.name != "digest"]


async def add(tx: AsyncConnection, key: Key, digest: str) -> None:
    """Store a new key."""
    values = {column.name: getattr(key, column.name) for column in _SHOWN}
    lists = {"scopes": list(key.scopes), "models": list(key.models)}
    await tx.execute(insert(keys).values(**{**values, **lists}, digest=digest))


async def with_digest(tx: AsyncConnection, digest: str) -> Key | None:
    """Find the key of a digest, whether it is still good or not."""
    statement = select(*_SHOWN).where(keys.c.digest == digest)
    found = (await tx.execute(statement)).mappings().one_or_none()
    return None if found is None else _key(found)


async def callers(tx: AsyncConnection, now: datetime) -> dict[str, Caller]:
    """List who the good keys stand for, by digest."""
    statement = select(keys).where(
        keys.c.revoked_at.is_(None), keys.c.expires_at.is_(None) | (keys.c.expires_at > now)
    )
    rows = (await tx.execute(statement)).mappings()
    return {row["digest"]: _key(row).caller() for row in rows}


async def page(
    tx: AsyncConnection,
    *,
    project_id: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Key]:
    """List keys, newest first.

    Args:
        project_id: None for every project's.
        before: Creation and id of the last key of the page before.
    """
    statement = select(*_SHOWN)
    if project_id is not None:
        statement = statement.where(keys.c.project_id == project_id)
    if before is not None:
        statement = statement.where(tuple_(keys.c.created_at, keys.c.id) < tuple_(*before))
    newest = (keys.c.created_at.desc(), keys.c.id.desc())
    rows = await tx.execute(statement.order_by(*newest).limit(limit))
    return [_key(row) for row in rows.mappings()]


async def revoke(
    tx: AsyncConnection, key_id: str, *, project_id: str | None, now: datetime
) -> tuple[Key, bool]:
    """Revoke a key; one that is revoked already keeps its moment.

    Returns:
        The key, and whether it was good until now.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    wanted = [keys.c.id == key_id]
    if project_id is not None:
        wanted.append(keys.c.project_id == project_id)
    statement = select(*_SHOWN).where(*wanted).with_for_update()
    found = (await tx.execute(statement)).mappings().one_or_none()
    if found is None:
        msg = f"there is no key {key_id[:80]!r}"
        raise NotFound(msg)
    if found["revoked_at"] is not None:
        return _key(found), False
    done = await tx.execute(
        update(keys).where(keys.c.id == key_id).values(revoked_at=now).returning(*_SHOWN)
    )
    return _key(done.mappings().one()), True


def _key(found: RowMapping) -> Key:
    values = {column.name: found[column.name] for column in _SHOWN}
    lists = {"scopes": tuple(found["scopes"]), "models": tuple(found["models"])}
    return Key(**{**values, **lists})
