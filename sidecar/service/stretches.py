"""How is a change of an experiment kept? Its row, plan, stages, and a line in the audit."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import BUCKETS
from sidecar.core.experiments import Experiment, Status
from sidecar.core.implicit import Step
from sidecar.core.plan import plan_hash, to_document
from sidecar.store import epochs, events, experiments, stages
from sidecar.store.epochs import Epoch
from sidecar.store.events import PUBLISHER, By
from sidecar.store.experiments import Stored


async def save_change(
    tx: AsyncConnection, before: Experiment | None, after: Experiment, action: str, by: By
) -> Stored:
    """Store an experiment as it is now, and what that says of its stages.

    Args:
        before: As it was; None for a new one.
        action: As the audit names it.
    """
    adding = before is None
    stored = await (experiments.add if adding else experiments.save)(tx, after)
    was, now_in = _stage_of(before), _stage_of(after)
    if was != now_in:
        if was is not None:
            await stages.close_stage(tx, after.id, by.now)
        if now_in is not None:
            await _freeze(tx, after, by)
            await stages.open_stage(tx, after, by.now)
    await events.add(tx, f"experiment:{after.id}", action, by, _detail(after))
    return stored


async def save_step(tx: AsyncConnection, step: Step, now: datetime) -> None:
    """Store a change that the publisher found necessary."""
    by = By(PUBLISHER, now, step.reason)
    await save_change(tx, step.before, step.after, step.action, by)


async def _freeze(tx: AsyncConnection, experiment: Experiment, by: By) -> None:
    """Keep the plan of the epoch that lasts, if it is not kept yet."""
    plan = experiment.plan
    if plan is None:
        return
    epoch = Epoch(
        epoch=experiment.epoch,
        plan=to_document(plan),
        plan_hash=plan_hash(plan),
        started_at=by.now,
        started_by=by.actor,
        reason=by.reason,
    )
    await epochs.add(tx, experiment.id, epoch)


def _stage_of(experiment: Experiment | None) -> tuple[int, int] | None:
    """Name the stage that lasts; None while nothing is compared."""
    if experiment is None or experiment.status is not Status.ACTIVE:
        return None
    return experiment.epoch, experiment.stage


def _detail(experiment: Experiment) -> dict[str, object]:
    return {
        "status": experiment.status.value,
        "epoch": experiment.epoch,
        "stage": experiment.stage,
        "shares": {arm: bp / BUCKETS for arm, bp in experiment.share_bp.items()},
        "arms": {arm: list(ids) for arm, ids in experiment.arms.items()},
        "outcome": None if experiment.outcome is None else experiment.outcome.value,
        "plan_hash": None if experiment.plan is None else plan_hash(experiment.plan),
    }
