"""How is a change of an experiment kept? Its row, its stages, and a line in the audit."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import BUCKETS
from sidecar.core.experiments import Experiment, Status
from sidecar.core.implicit import Step
from sidecar.store import events, experiments, stages
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
            await stages.open_stage(tx, after, by.now)
    await events.add(tx, f"experiment:{after.id}", action, by, _detail(after))
    return stored


async def save_step(tx: AsyncConnection, step: Step, now: datetime) -> None:
    """Store a change that the publisher found necessary."""
    by = By(PUBLISHER, now, step.reason)
    await save_change(tx, step.before, step.after, step.action, by)


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
    }
