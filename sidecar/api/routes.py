"""`/v1/routes`: which routes are in force, in which workers, and why a unit gets its arm."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from sidecar.api.bodies import Line, UnitText
from sidecar.api.deps import Actor, Context, Reader, Shared, Tx
from sidecar.core.assignment import BUCKETS
from sidecar.core.errors import Denied
from sidecar.core.routing import Group, Owner, Task, UnitSource
from sidecar.handoff.gauges import WorkerReport, read_workers
from sidecar.service import routes as service
from sidecar.service.routes import Explanation, NothingPublished
from sidecar.store.generations import Generation
from sidecar.worker.publish import PublishStatus

router = APIRouter(prefix="/v1/routes", tags=["routes"])


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm with its designed probability and the deployments that may serve it."""

    name: str
    share: float
    deployments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the YAML asks for while an experiment owns the group."""

    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group and how its calls are split.

    Args:
        experiment_id: None when there is one arm: recorded, not split.
        held_by: The ended experiment whose promotion, rollback or inconclusive end is in
            force until the group is edited in the YAML.
        yaml_waiting: None when no edit of the YAML waits.
    """

    name: str
    task: Task
    labels: Sequence[str]
    owner: Owner
    experiment_id: str | None
    held_by: str | None
    epoch: int
    stage: int
    paused: bool
    unit: UnitSource | None
    arms: Sequence[ArmView]
    yaml_waiting: Waiting | None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A proxy worker and the routes that it runs.

    Args:
        is_current: Whether it runs the generation in force.
        counts: What it has counted since its start.
    """

    writer: str
    pid: int
    alive: bool
    generation: int
    is_current: bool
    started_at: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RoutesView:
    """The routes in force.

    Args:
        generation: 0 when nothing was published yet.
        config_error: Why the YAML as it stands is not in force; None when it is.
        publish_error: Why the last try to publish failed for another reason.
    """

    generation: int
    hash: str
    published_at: datetime | None
    config_error: str | None
    publish_error: str | None
    warnings: Sequence[str]
    groups: Sequence[GroupView]
    aliases: Mapping[str, str]
    workers: Sequence[WorkerView]


@router.get("")
async def show(tx: Tx, actor: Reader, context: Shared) -> RoutesView:
    """Show groups, arms, shares, and each worker's generation."""
    try:
        found: Generation | None = await service.in_force(tx)
    except NothingPublished:
        found = None
    reports = await asyncio.to_thread(read_workers, context.volume.workers)
    return _view(found, _status(context), reports, actor)


@router.get("/explain")
async def explain(
    tx: Tx, actor: Reader, group: Annotated[Line, Query()], unit: Annotated[UnitText, Query()]
) -> Explanation:
    """Say which arm of a group a unit gets, and why."""
    found = await service.explain(tx, group, unit)
    if not _may_see(actor, found.group):
        msg = f"the key does not reach group {group!r}"
        raise Denied(msg)
    return found


def _view(
    found: Generation | None,
    status: PublishStatus,
    reports: Sequence[WorkerReport],
    actor: Actor,
) -> RoutesView:
    generation = 0 if found is None else found.table.generation
    groups = {} if found is None else found.table.groups
    aliases = {} if found is None else found.table.aliases
    return RoutesView(
        generation=generation,
        hash="" if found is None else found.table.hash,
        published_at=None if found is None else found.published_at,
        config_error=status.config_error,
        publish_error=status.error,
        warnings=status.warnings,
        groups=[
            _group(groups[name], status) for name in sorted(groups) if _may_see(actor, name)
        ],
        aliases={a: group for a, group in sorted(aliases.items()) if _may_see(actor, group)},
        workers=[_worker(report, generation) for report in reports],
    )


def _group(group: Group, status: PublishStatus) -> GroupView:
    waiting = (status.waiting or {}).get(group.name)
    return GroupView(
        name=group.name,
        task=group.task,
        labels=group.labels,
        owner=group.owner,
        experiment_id=group.experiment_id,
        held_by=group.held_by,
        epoch=group.epoch,
        stage=group.stage,
        paused=group.paused,
        unit=group.unit,
        arms=[ArmView(arm.name, arm.share_bp / BUCKETS, arm.deployments) for arm in group.arms],
        yaml_waiting=None
        if waiting is None
        else Waiting({arm: bp / BUCKETS for arm, bp in waiting.items()}),
    )


def _worker(report: WorkerReport, generation: int) -> WorkerView:
    counts = dict(report.values)
    runs = counts.pop("generation")
    return WorkerView(
        writer=report.writer,
        pid=report.pid,
        alive=report.alive,
        generation=runs,
        is_current=runs == generation,
        started_at=datetime.fromtimestamp(report.started_ns / 1e9, tz=UTC),
        counts=counts,
    )


def _status(context: Context) -> PublishStatus:
    return PublishStatus() if context.publisher is None else context.publisher.status


def _may_see(actor: Actor, group: str) -> bool:
    return not actor.models or group in actor.models
