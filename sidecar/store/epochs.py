"""By which plan was each epoch of an experiment analysed? Written once, never changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.measured import epochs


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch with an unchanged analysis plan.

    Args:
        plan: The complete document.
        reason: Why it began; None when nobody said.
    """

    epoch: int
    plan: Mapping[str, Any]
    plan_hash: str
    started_at: datetime
    started_by: str
    reason: str | None


async def add(tx: AsyncConnection, experiment_id: str, epoch: Epoch) -> None:
    """Freeze the plan of an epoch; one that is frozen stays as it is."""
    values = {name: getattr(epoch, name) for name in Epoch.__slots__}
    values["plan"] = dict(epoch.plan)
    await tx.execute(
        insert(epochs).values(experiment_id=experiment_id, **values).on_conflict_do_nothing()
    )


async def of_experiment(tx: AsyncConnection, experiment_id: str) -> list[Epoch]:
    """List an experiment's epochs in their order; those without a plan are absent."""
    statement = (
        select(*(epochs.c[name] for name in Epoch.__slots__))
        .where(epochs.c.experiment_id == experiment_id)
        .order_by(epochs.c.epoch)
    )
    return [Epoch(**row) for row in (await tx.execute(statement)).mappings()]


async def plans(
    tx: AsyncConnection, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Fetch the plans of some epochs, by experiment and epoch; those without one are absent."""
    key = tuple_(epochs.c.experiment_id, epochs.c.epoch)
    statement = select(epochs.c.experiment_id, epochs.c.epoch, epochs.c.plan).where(
        key.in_(list(wanted))
    )
    return {(row[0], row[1]): row[2] for row in await tx.execute(statement)}
