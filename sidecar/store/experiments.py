"""Where are experiments kept? One row each, replaced whole, with a version that counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import PRIMARY
from sidecar.core.errors import NotFound
from sidecar.core.experiments import Experiment, Hold, Outcome, Status
from sidecar.core.plan import to_document
from sidecar.core.plan_reading import plan_from
from sidecar.core.routing import Owner, UnitSource
from sidecar.store.tables import experiments

_RUNNING = (Status.ACTIVE.value, Status.PAUSED.value)


@dataclass(frozen=True, slots=True)
class Stored:
    """An experiment and how often it was changed, from 1."""

    experiment: Experiment
    version: int


async def add(tx: AsyncConnection, experiment: Experiment) -> Stored:
    """Store a new experiment; its id is new."""
    await tx.execute(insert(experiments).values(**_values(experiment), version=1))
    return Stored(experiment, 1)


async def save(tx: AsyncConnection, experiment: Experiment) -> Stored:
    """Replace an experiment that is there."""
    statement = (
        update(experiments)
        .where(experiments.c.id == experiment.id)
        .values(**_values(experiment), version=experiments.c.version + 1)
        .returning(experiments.c.version)
    )
    return Stored(experiment, (await tx.execute(statement)).scalar_one())


async def get(
    tx: AsyncConnection, experiment_id: str, *, project_id: str | None, lock: bool = False
) -> Stored:
    """Fetch an experiment.

    Args:
        project_id: Who asks sees only this project's; None for all.
        lock: Nobody else may change it until the transaction ends.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    statement = select(experiments).where(experiments.c.id == experiment_id)
    if project_id is not None:
        statement = statement.where(experiments.c.project_id == project_id)
    if lock:
        statement = statement.with_for_update()
    found = (await tx.execute(statement)).mappings().one_or_none()
    if found is None:
        msg = f"there is no experiment {experiment_id[:80]!r}"
        raise NotFound(msg)
    return _stored(found)


async def of_yaml_or_running(tx: AsyncConnection) -> list[Experiment]:
    """List what routing depends on: what runs, what holds, and every one of the YAML."""
    statement = (
        select(experiments)
        .where(
            experiments.c.status.in_(_RUNNING)
            | (experiments.c.owner == Owner.YAML.value)
            | experiments.c.held_arm.is_not(None)
        )
        .order_by(experiments.c.created_at, experiments.c.id)
    )
    rows = await tx.execute(statement)
    return [_stored(row).experiment for row in rows.mappings()]


async def running_on(tx: AsyncConnection, group: str) -> Experiment | None:
    """Find the explicit experiment that owns a group now."""
    statement = select(experiments).where(
        experiments.c.group_name == group,
        experiments.c.owner == Owner.EXPERIMENT.value,
        experiments.c.status.in_(_RUNNING),
    )
    found = (await tx.execute(statement)).mappings().one_or_none()
    return None if found is None else _stored(found).experiment


async def page(
    tx: AsyncConnection,
    *,
    project_id: str | None,
    only: Mapping[str, str],
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Stored]:
    """List experiments, newest first.

    Args:
        project_id: None for every project's.
        only: Values that columns must have, by column.
        before: Creation and id of the last experiment of the page before.
    """
    statement = select(experiments).where(
        *(experiments.c[name] == value for name, value in only.items())
    )
    if project_id is not None:
        statement = statement.where(experiments.c.project_id == project_id)
    if before is not None:
        place = tuple_(experiments.c.created_at, experiments.c.id)
        statement = statement.where(place < tuple_(*before))
    newest = (experiments.c.created_at.desc(), experiments.c.id.desc())
    rows = await tx.execute(statement.order_by(*newest).limit(limit))
    return [_stored(row) for row in rows.mappings()]


def _values(experiment: Experiment) -> dict[str, Any]:
    return {
        "id": experiment.id,
        "group_name": experiment.group,
        "project_id": experiment.project_id,
        "owner": experiment.owner.value,
        "salt": experiment.salt,
        "arms": {arm: list(ids) for arm, ids in experiment.arms.items()},
        "share_bp": dict(experiment.share_bp),
        "unit": None if experiment.unit is None else experiment.unit.value,
        "hypothesis": experiment.hypothesis,
        "plan": None if experiment.plan is None else to_document(experiment.plan),
        "status": experiment.status.value,
        "outcome": None if experiment.outcome is None else experiment.outcome.value,
        "epoch": experiment.epoch,
        "stage": experiment.stage,
        "created_at": experiment.created_at,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "held_arm": None if experiment.hold is None else experiment.hold.arm,
        "held_yaml_hash": None if experiment.hold is None else experiment.hold.yaml_hash,
    }


def _stored(found: RowMapping) -> Stored:
    experiment = Experiment(
        id=found["id"],
        group=found["group_name"],
        project_id=found["project_id"],
        salt=found["salt"],
        share_bp=in_order(found["share_bp"]),
        created_at=found["created_at"],
        owner=Owner(found["owner"]),
        arms={arm: tuple(ids) for arm, ids in in_order(found["arms"]).items()},
        unit=None if found["unit"] is None else UnitSource(found["unit"]),
        hypothesis=found["hypothesis"],
        plan=None if found["plan"] is None else plan_from(found["plan"]),
        status=Status(found["status"]),
        outcome=None if found["outcome"] is None else Outcome(found["outcome"]),
        epoch=found["epoch"],
        stage=found["stage"],
        started_at=found["started_at"],
        ended_at=found["ended_at"],
        hold=None
        if found["held_arm"] is None
        else Hold(found["held_arm"], found["held_yaml_hash"]),
    )
    return Stored(experiment, found["version"])


def in_order(by_arm: Mapping[str, Any]) -> dict[str, Any]:
    """Put arms into their order, `primary` first: jsonb has an order of its own."""
    return {arm: by_arm[arm] for arm in sorted(by_arm, key=lambda arm: (arm != PRIMARY, arm))}
