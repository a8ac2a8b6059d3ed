"""Where is the registry kept? A row a name, a row a version; a version never changes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import NotFound
from sidecar.core.registry import ModelType, Version
from sidecar.store.tables import models, versions


@dataclass(frozen=True, slots=True)
class Registered:
    """What is there of a name: its type and the number of its last version."""

    type: ModelType
    last_number: int


async def find(tx: AsyncConnection, name: str) -> Registered | None:
    """Look a name up; None when nothing is registered under it."""
    last = (
        select(func.coalesce(func.max(versions.c.number), 0))
        .where(versions.c.name == name)
        .scalar_subquery()
    )
    statement = select(models.c.type, last).where(models.c.name == name)
    found = (await tx.execute(statement)).one_or_none()
    return None if found is None else Registered(ModelType(found[0]), found[1])


async def add(tx: AsyncConnection, version: Version) -> None:
    """Store a version, and its name when that is new."""
    await tx.execute(
        insert(models)
        .values(name=version.name, type=version.type.value, created_at=version.created_at)
        .on_conflict_do_nothing()
    )
    values = {
        column.name: getattr(version, column.name)
        for column in versions.columns
        if column.name != "type"
    }
    await tx.execute(insert(versions).values(**values))


async def with_model_id(tx: AsyncConnection, model_id: str) -> Version | None:
    """Find the version of a provider's id; None when it is not registered."""
    return next(iter(await _select(tx, versions.c.model_id == model_id)), None)


async def get(tx: AsyncConnection, name: str, number: int) -> Version:
    """Fetch a version.

    Raises:
        NotFound: There is no such name, or it has no such version.
    """
    found = await _select(tx, versions.c.name == name, versions.c.number == number)
    if not found:
        msg = f"there is no version {number} of a model {name[:80]!r}"
        raise NotFound(msg)
    return found[0]


async def every(tx: AsyncConnection) -> list[Version]:
    """List the whole registry, by name and number."""
    return await _select(tx)


async def set_active(tx: AsyncConnection, name: str, number: int | None) -> None:
    """Make one version of a name the active one; None for none of them."""
    # The old one first: at no moment may two be active.
    for is_active, which in (
        (False, versions.c.number.is_distinct_from(number)),
        (True, versions.c.number == number),
    ):
        await tx.execute(
            update(versions).where(versions.c.name == name, which).values(is_active=is_active)
        )


async def _select(tx: AsyncConnection, *conditions: Any) -> list[Version]:  # noqa: ANN401  (SQL)
    statement = (
        select(versions, models.c.type)
        .join(models, models.c.name == versions.c.name)
        .where(*conditions)
        .order_by(versions.c.name, versions.c.number)
    )
    return [_version(row) for row in (await tx.execute(statement)).mappings()]


def _version(found: RowMapping) -> Version:
    return Version(**{**found, "type": ModelType(found["type"])})
