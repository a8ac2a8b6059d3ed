"""Since when were which shares in force? One row for each stretch of constant shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.experiments import Experiment
from sidecar.store.experiments import in_order
from sidecar.store.tables import stages


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of an experiment with constant shares.

    Args:
        share_bp: Basis points by arm, `primary` first.
        ended_at: None while it lasts.
    """

    epoch: int
    stage: int
    share_bp: Mapping[str, int]
    started_at: datetime
    ended_at: datetime | None


async def open_stage(tx: AsyncConnection, experiment: Experiment, now: datetime) -> None:
    """Begin the stage that the experiment is in."""
    await tx.execute(
        insert(stages).values(
            experiment_id=experiment.id,
            epoch=experiment.epoch,
            stage=experiment.stage,
            share_bp=dict(experiment.share_bp),
            started_at=now,
        )
    )


async def close_stage(tx: AsyncConnection, experiment_id: str, now: datetime) -> None:
    """End the stage that lasts, if one does; not before it began, whatever the clock says."""
    await tx.execute(
        update(stages)
        .where(stages.c.experiment_id == experiment_id, stages.c.ended_at.is_(None))
        .values(ended_at=func.greatest(stages.c.started_at, now))
    )


async def of_experiment(tx: AsyncConnection, experiment_id: str) -> list[Stage]:
    """List an experiment's stages in their order."""
    columns = (
        stages.c.epoch,
        stages.c.stage,
        stages.c.share_bp,
        stages.c.started_at,
        stages.c.ended_at,
    )
    statement = (
        select(*columns)
        .where(stages.c.experiment_id == experiment_id)
        .order_by(stages.c.epoch, stages.c.stage)
    )
    rows = (await tx.execute(statement)).mappings()
    return [Stage(**{**row, "share_bp": in_order(row["share_bp"])}) for row in rows]
