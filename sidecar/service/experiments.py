"""What may be done with experiments? Each use case is one function and one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Conflict, IllegalMove, Invalid
from sidecar.core.experiments import (
    Experiment,
    Status,
    move,
    shares_to_bp,
    with_plan,
    with_shares,
)
from sidecar.core.planning import Wish, arms_for, check_wish, plan_for, with_slow
from sidecar.core.publishing import check_experiment
from sidecar.core.readings import State
from sidecar.core.routing import Owner
from sidecar.service import routes
from sidecar.service.stretches import save_change
from sidecar.service.views import ExperimentView, view
from sidecar.store import decisions, events, experiments, stages
from sidecar.store.events import By, Event
from sidecar.store.latencies import usual_p95_ms


class Stale(Conflict):
    """The experiment was changed since the version that the caller has seen."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who changes which experiment.

    Args:
        project_id: Who asks reaches only this project's; None for all.
        version: The version that the caller has seen; None when it does not mind.
    """

    experiment_id: str
    project_id: str | None
    by: By
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ExperimentFilter:
    """Which experiments to list; None does not restrict."""

    project_id: str | None = None
    group: str | None = None
    status: Status | None = None
    owner: Owner | None = None


async def create(
    tx: AsyncConnection, wish: Wish, *, experiment_id: str, by: By
) -> ExperimentView:
    """Plan an experiment; it owns its group only once it is started.

    Raises:
        NotFound: There is no such group; the message lists those that there are.
        Invalid: It could never run: shares, arms or deployments do not fit.
        Unavailable: Nothing was published yet, so no group is known.
    """
    await events.take_turn(tx)
    catalogue = await routes.catalogue(tx)
    share_bp = shares_to_bp(wish.shares)
    group, arms = arms_for(catalogue, check_wish(wish))
    experiment = Experiment(
        id=experiment_id,
        group=group,
        project_id=wish.project_id,
        salt=experiment_id,
        share_bp=share_bp,
        arms=arms,
        unit=wish.unit,
        hypothesis=wish.hypothesis,
        created_at=by.now,
    )
    placed = check_experiment(catalogue, experiment)
    slow_ms = await usual_p95_ms(tx, group)
    plan = plan_for(with_slow(wish.plan, slow_ms), placed, unit=wish.unit)
    experiment = replace(experiment, plan=plan)
    return view(await save_change(tx, None, experiment, "created", by))


async def get(
    tx: AsyncConnection, experiment_id: str, *, project_id: str | None
) -> ExperimentView:
    """Return an experiment with its stages.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    stored = await experiments.get(tx, experiment_id, project_id=project_id)
    return view(stored, await stages.of_experiment(tx, experiment_id))


async def page(
    tx: AsyncConnection,
    only: ExperimentFilter,
    *,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[ExperimentView]:
    """List experiments, newest first."""
    columns = {"group_name": only.group, "status": only.status, "owner": only.owner}
    given = {name: str(value) for name, value in columns.items() if value is not None}
    found = await experiments.page(
        tx, project_id=only.project_id, only=given, before=before, limit=limit
    )
    return [view(stored) for stored in found]


async def start(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """Let a draft take its group over.

    Raises:
        Conflict: Another experiment owns the group, or this is no draft.
        Invalid: A deployment it was planned with is gone.
    """
    experiment = await for_change(tx, asked)
    if experiment.status is Status.PAUSED:
        msg = f"experiment {experiment.id!r} is paused; resume it"
        raise IllegalMove(msg)
    after = move(experiment, Status.ACTIVE, now=asked.by.now)
    await check_free(tx, experiment)
    check_experiment(await routes.catalogue(tx), experiment)
    return view(await save_change(tx, experiment, after, "started", asked.by))


async def pause(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """Let the primary serve all; the group stays the experiment's.

    Raises:
        IllegalMove: It is not active.
    """
    return await _move(tx, asked, Status.PAUSED, "paused")


async def resume(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """Go on after a pause, in a new stage.

    Raises:
        IllegalMove: It is not paused.
    """
    experiment = await for_change(tx, asked)
    if experiment.status is Status.DRAFT:
        msg = f"experiment {experiment.id!r} is a draft; start it"
        raise IllegalMove(msg)
    after = move(experiment, Status.ACTIVE, now=asked.by.now)
    return view(await save_change(tx, experiment, after, "resumed", asked.by))


async def stop(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """End an experiment and hand its group back to the YAML.

    Raises:
        IllegalMove: It has ended.
    """
    return await _move(tx, asked, Status.COMPLETED, "stopped")


async def set_shares(
    tx: AsyncConnection, asked: Asked, shares: Mapping[str, float]
) -> ExperimentView:
    """Change the shares, which opens a new stage; no unit moves that need not.

    Raises:
        Invalid: The shares do not sum to 1, or do not name the experiment's arms.
        IllegalMove: It has ended.
        Conflict: It was promoted, and would be again at the next look.
    """
    experiment = await for_change(tx, asked)
    await _check_open(tx, experiment)
    share_bp = shares_to_bp(shares)
    if set(share_bp) != set(experiment.share_bp):
        msg = (
            f"shares name the arms {', '.join(share_bp)}; "
            f"experiment {experiment.id!r} has {', '.join(experiment.share_bp)}"
        )
        raise Invalid(msg)
    if share_bp == dict(experiment.share_bp) and experiment.status is not Status.COMPLETED:
        return await get(tx, asked.experiment_id, project_id=asked.project_id)
    after = with_shares(experiment, share_bp)
    return view(await save_change(tx, experiment, after, "shares_set", asked.by))


async def set_plan(
    tx: AsyncConnection, asked: Asked, document: Mapping[str, object]
) -> ExperimentView:
    """Change the plan; in a started experiment that opens a new epoch, the old one stays.

    Args:
        document: The whole plan; what it leaves out has its default, not its present value.

    Raises:
        Invalid: It makes no sense, or contradicts the group.
        IllegalMove: The experiment has ended.
    """
    experiment = await for_change(tx, asked)
    placed = check_experiment(await routes.catalogue(tx), experiment)
    plan = plan_for(document, placed, unit=experiment.unit)
    if plan == experiment.plan and experiment.status is not Status.COMPLETED:
        return await get(tx, asked.experiment_id, project_id=asked.project_id)
    after = with_plan(experiment, plan)
    return view(await save_change(tx, experiment, after, "plan_set", asked.by))


async def audit(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    project_id: str | None,
    before: int | None,
    limit: int,
) -> list[Event]:
    """List what was done with an experiment, newest first.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    await experiments.get(tx, experiment_id, project_id=project_id)
    return await events.page(tx, f"experiment:{experiment_id}", before=before, limit=limit)


async def _check_open(tx: AsyncConnection, experiment: Experiment) -> None:
    """Refuse to work against a decision that was carried out and is in force."""
    found = await decisions.in_force(tx, experiment.id, experiment.epoch)
    if any(each.state == State.PROMOTE and each.action for each in found):
        msg = (
            f"experiment {experiment.id!r} was promoted, and its canary keeps its share; "
            "undo the promotion, or roll it back"
        )
        raise Conflict(msg)


async def _move(tx: AsyncConnection, asked: Asked, to: Status, action: str) -> ExperimentView:
    experiment = await for_change(tx, asked)
    after = move(experiment, to, now=asked.by.now)
    return view(await save_change(tx, experiment, after, action, asked.by))


async def check_free(tx: AsyncConnection, experiment: Experiment) -> None:
    """Refuse to take over a group that another experiment owns.

    Raises:
        Conflict: One does.
    """
    running = await experiments.running_on(tx, experiment.group)
    if running is not None and running.id != experiment.id:
        msg = (
            f"group {experiment.group!r} is owned by experiment {running.id!r}, which is "
            f"{running.status}; stop that one first"
        )
        raise Conflict(msg)


async def for_change(tx: AsyncConnection, asked: Asked) -> Experiment:
    """Take the turn, and fetch an experiment that people may change, for nobody else to.

    Raises:
        NotFound: There is none of that id, or it is another project's.
        Conflict: It is the YAML's own.
        Stale: It was changed since the caller looked.
    """
    await events.take_turn(tx)
    stored = await experiments.get(
        tx, asked.experiment_id, project_id=asked.project_id, lock=True
    )
    experiment = stored.experiment
    if asked.version is not None and asked.version != stored.version:
        msg = (
            f"experiment {experiment.id!r} has version {stored.version}, "
            f"the request is for {asked.version}; look at it again"
        )
        raise Stale(msg)
    if experiment.owner is Owner.YAML:
        msg = (
            f"experiment {experiment.id!r} follows the YAML: edit the weights of group "
            f"{experiment.group!r} there, or create an experiment on the group"
        )
        raise Conflict(msg)
    return experiment
