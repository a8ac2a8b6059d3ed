"""`/health`: does the process work, can it do its job, and what does it know of the rest?"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response

from sidecar.api.deps import Context, Credentials, Now, Shared, actor_of, admin_of
from sidecar.core.errors import SignalopsError, Unavailable
from sidecar.core.keys import require_scope
from sidecar.core.results import Reconciliation
from sidecar.handoff.gauges import read_workers
from sidecar.service.reconciliation import reconcile
from sidecar.store import generations
from sidecar.store.database import transaction
from sidecar.worker.control import ControlStatus
from sidecar.worker.drain import DrainStatus
from sidecar.worker.publish import PublishStatus

router = APIRouter(prefix="/health", tags=["health"])

WORKING, FAILING = 200, 503


@dataclass(frozen=True, slots=True)
class Live:
    """Whether the process works; one that does not is to be restarted."""

    status: str
    ended_loops: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """A proxy worker, and whether it keeps up."""

    writer: str
    alive: bool
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether the process can do its job now.

    Args:
        waiting_for: The parts that are not ready: `database`, `publish`, a loop's name.
    """

    status: str
    waiting_for: Sequence[str]


@dataclass(frozen=True, slots=True)
class DetailedReady:
    """The same, with what only who has a key is told.

    Args:
        config_error: Why the YAML as it stands is not in force; None when it is.
        publish_error: Why the last try to publish failed for another reason.
        drain: None in a process that does not drain.
        control: None in a process that does not look at experiments.
        reconciliation: What was served against what is stored; None without a database.
    """

    status: str
    waiting_for: Sequence[str]
    database_error: str | None
    generation: int
    published_at: datetime | None
    config_error: str | None
    publish_error: str | None
    warnings: Sequence[str]
    drain: DrainStatus | None
    control: ControlStatus | None
    workers: Sequence[WorkerHealth]
    reconciliation: Reconciliation | None


@router.get("/live")
async def live(context: Shared, response: Response) -> Live:
    """Say that the process works; it asks nothing of the database."""
    if context.ended_loops:
        response.status_code = FAILING
        return Live("failing", context.ended_loops)
    return Live("ok")


@router.get("/ready")
async def ready(
    context: Shared, credentials: Credentials, now: Now, response: Response
) -> DetailedReady | Ready:
    """Say whether the database answers, and whether first routes were published.

    A YAML that is invalid does not make the sidecar unready: what was published before is
    in force, and only an edit can help. A key adds the details.
    """
    database_error = await _database_error(context)
    waiting = [] if database_error is None else ["database"]
    if context.publisher is not None and not context.publisher.status.has_decided:
        waiting.append("publish")
    waiting += context.ended_loops
    response.status_code = FAILING if waiting else WORKING
    status = "unready" if waiting else "ready"
    if not await _may_read(context, credentials, now):
        return Ready(status, waiting)
    return await _detailed(context, Ready(status, waiting), database_error)


async def _database_error(context: Context) -> str | None:
    try:
        async with transaction(context.engine) as tx:
            await generations.number(tx)  # answers only where the tables are
    except Unavailable as error:
        return str(error)
    return None


async def _may_read(context: Context, credentials: Credentials, now: Now) -> bool:
    if credentials is None:
        return False
    if admin_of(context, credentials) is not None:
        return True
    with suppress(SignalopsError):
        async with transaction(context.engine) as tx:
            actor = await actor_of(context, credentials, tx, now)
            require_scope(actor.scopes, "read")
            return True
    return False


async def _detailed(
    context: Context, ready: Ready, database_error: str | None
) -> DetailedReady:
    reports = await asyncio.to_thread(read_workers, context.volume.workers)
    status = PublishStatus() if context.publisher is None else context.publisher.status
    reconciliation = None
    with suppress(Unavailable):
        async with transaction(context.engine) as tx:
            reconciliation = await reconcile(tx, context.volume.root)
    return DetailedReady(
        status=ready.status,
        waiting_for=ready.waiting_for,
        database_error=database_error,
        generation=status.generation,
        published_at=status.published_at,
        config_error=status.config_error,
        publish_error=status.error,
        warnings=status.warnings,
        drain=None if context.drainer is None else context.drainer.status,
        control=None if context.controller is None else context.controller.status,
        workers=[WorkerHealth(r.writer, r.alive, dict(r.values)) for r in reports],
        reconciliation=reconciliation,
    )
