"""What does a look at an experiment see, and what is done about it?

A look is one transaction. Only one process looks at a time, and what a look decides is
committed together with what it rests on and what follows from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core import acting
from sidecar.core.analysis import analyse, readings_of, units_by_stage
from sidecar.core.assignment import PRIMARY
from sidecar.core.calls import started_at_of
from sidecar.core.decision import CONTROLLER, Decision, decide
from sidecar.core.experiments import Experiment, Status, epoch_of
from sidecar.core.findings import Analysis
from sidecar.core.pairing import Cells
from sidecar.core.plan import Plan
from sidecar.core.ramp import Progress, progress
from sidecar.core.readings import Readings, State
from sidecar.core.results import StageDesign
from sidecar.core.routing import Owner
from sidecar.core.standing import is_told, standing_of
from sidecar.service import deciding
from sidecar.service.deciding import Seen
from sidecar.store import decisions, epochs, events, experiments, stages, streaks, totals
from sidecar.store.decisions import Look
from sidecar.store.epochs import Epoch
from sidecar.store.events import By
from sidecar.store.streaks import Place

# Looks are kept ever more sparsely, so that a month's history is some thousand rows.
KEEP_EVERY = timedelta(seconds=2)
KEEP_EVERY_PART = 1 / 500
# Clocks of two machines differ by so much, and a look or a call may be told of between a
# question's arrival and its answer: neither is a clock that was set back.
SKEW = timedelta(seconds=10)
MANUAL = ("manual",)  # a person undid a decision, which is on record
_WORTH_NOTING = frozenset(State) - {State.KEEP_COLLECTING}


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look.

    Args:
        has_acted: Shares or the experiment's state were changed.
    """

    state: State
    reasons: tuple[str, ...]
    has_acted: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """All that a look at one epoch sees.

    Args:
        readings, decided: By canary.
        noted: Stored decisions in force, newest first.
        look: Number that this look has, or would have were it kept.
    """

    plan: Plan
    designs: Sequence[StageDesign]
    cells: Cells
    analysis: Analysis
    progress: Progress
    readings: Mapping[str, Readings]
    decided: Mapping[str, Decision]
    noted: Sequence[decisions.Decision]
    last: Look | None
    look: int

    @property
    def decision(self) -> Decision:
        """The decision, of the first canary where there are several."""
        return next(iter(self.decided.values()))


async def look(tx: AsyncConnection, experiment_id: str, now: datetime) -> Looked | None:
    """Look at an active experiment, keep what was seen, and act as its plan allows.

    Returns:
        None when another process looks, or there is nothing to look at any more.
    """
    if not await decisions.take_turn(tx):
        return None
    stored = await experiments.get(tx, experiment_id, project_id=None)
    experiment = stored.experiment
    if experiment.status is not Status.ACTIVE or experiment.plan is None:
        return None
    seen = await sight(tx, experiment, experiment.plan, now)
    decision = await _tripped(tx, experiment, seen) or seen.decision
    canary = deciding.promoted_arm(seen.noted)
    acts = decision.is_automatic and experiment.owner is Owner.EXPERIMENT
    is_new = not decision.is_latched and decision.reasons != MANUAL
    says = is_new and decision.state in _WORTH_NOTING
    says = says and not is_told(seen.noted, decision.state, decision.reasons)
    if acts or says or _is_due(seen, now):
        numbers = _numbers(seen, decision)
        await decisions.add_look(
            tx, experiment.id, experiment.epoch, Look(seen.look, now, numbers)
        )
        rests_on = Seen(seen.look, numbers)
        by = By(CONTROLLER, now, decision.text)
        if acts:
            await events.take_turn(tx)
            again = await experiments.get(tx, experiment_id, project_id=None, lock=True)
            if again.version != stored.version:  # a person was faster: look again
                return None
            await deciding.carry_out(tx, experiment, decision, rests_on, by, canary=canary)
        elif says:
            await deciding.note(tx, experiment, decision, rests_on, by)
    return Looked(decision.state, decision.reasons, acts)


async def sight(
    tx: AsyncConnection,
    experiment: Experiment,
    plan: Plan,
    now: datetime,
    *,
    epoch: int | None = None,
) -> Sight:
    """See how an epoch stands, and what should be done; changes nothing.

    Args:
        plan: The epoch's.
        epoch: None for the present one.
    """
    epoch = experiment.epoch if epoch is None else epoch
    place = Place(experiment.id, epoch)
    designs = await designs_of(tx, experiment.id, epoch)
    cells = await totals.of_epoch(tx, experiment.id, epoch)
    analysis = analyse(plan, designs, cells, now=now)
    went = progress(plan, designs, units_by_stage(plan, designs, cells), now=now)
    noted = await decisions.in_force(tx, experiment.id, epoch)
    last = await decisions.last_look(tx, experiment.id, epoch)
    last_look_at = None if last is None else _unskewed(last.at, now)
    standing = standing_of(noted, last_look_at=last_look_at, canary_bp=went.canary_bp)
    age_s = await _data_age_s(tx, place, designs, now)
    readings = {
        canary: readings_of(analysis, went, canary=canary, at=now, data_age_s=age_s)
        for canary in plan.canaries
    }
    return Sight(
        plan=plan,
        designs=designs,
        cells=cells,
        analysis=analysis,
        progress=went,
        readings=readings,
        decided={canary: decide(plan, read, standing) for canary, read in readings.items()},
        noted=noted,
        last=last,
        look=1 if last is None else last.look + 1,
    )


async def designs_of(tx: AsyncConnection, experiment_id: str, epoch: int) -> list[StageDesign]:
    """List the stages of an epoch in their order."""
    return [
        StageDesign(found.stage, found.share_bp, found.started_at, found.ended_at)
        for found in await stages.of_experiment(tx, experiment_id)
        if found.epoch == epoch
    ]


async def news(tx: AsyncConnection) -> dict[str, str]:
    """Name every active experiment, with a stamp that changes with what is known of it."""
    return await streaks.news(tx)


async def note_generation(tx: AsyncConnection) -> None:
    """Note with decisions the first generation of routes that has them in it."""
    await decisions.fill_generations(tx)


async def epochs_of(
    tx: AsyncConnection, experiment_id: str, *, project_id: str | None
) -> list[Epoch]:
    """List an experiment's epochs with their plans.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    await experiments.get(tx, experiment_id, project_id=project_id)
    return await epochs.of_experiment(tx, experiment_id)


async def decisions_of(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    project_id: str | None,
    before: int | None,
    limit: int,
) -> list[decisions.Decision]:
    """List what was decided, newest first.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    await experiments.get(tx, experiment_id, project_id=project_id)
    return await decisions.page(tx, experiment_id, before=before, limit=limit)


async def history_of(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    project_id: str | None,
    epoch: int | None,
    limit: int,
) -> list[Look]:
    """List what was seen over time, evenly thinned, in order.

    Raises:
        NotFound: There is none of that id, it is another project's, or has no such epoch.
    """
    stored = await experiments.get(tx, experiment_id, project_id=project_id)
    epoch = epoch_of(stored.experiment, epoch)
    return await decisions.history(tx, experiment_id, epoch, limit=limit)


async def _tripped(tx: AsyncConnection, experiment: Experiment, seen: Sight) -> Decision | None:
    """Ask the circuit breaker, which needs no statistics."""
    most, serves = seen.plan.breaker_failures, seen.progress.canary_bp > 0
    if most is None or not serves or len(seen.plan.canaries) > 1:
        return None
    if seen.decision.reasons == MANUAL:  # a person knows better, and watches
        return None
    place = Place(experiment.id, experiment.epoch)
    cell = (experiment.stage, seen.plan.canaries[0])
    failures = await streaks.failures_in_a_row(tx, place, cell, most=most)
    decision = acting.tripped(seen.plan, failures)
    # What the statistics are sure of says more than a streak does.
    return None if seen.decision.state is State.ROLLBACK else decision


async def _data_age_s(
    tx: AsyncConnection, place: Place, designs: Sequence[StageDesign], now: datetime
) -> float | None:
    recent = [(design.stage, arm) for design in designs[-2:] for arm in design.share_bp]
    newest = await streaks.newest_call(tx, place, recent)
    if newest is None:
        return None
    return (now - _unskewed(started_at_of(newest), now)).total_seconds()


def _unskewed(at: datetime, now: datetime) -> datetime:
    """Take what another clock says is just about to come for the present."""
    return now if now < at <= now + SKEW else at


def _is_due(seen: Sight, now: datetime) -> bool:
    if seen.last is None:
        return True
    since_s = (now - seen.last.at).total_seconds()
    return since_s >= max(KEEP_EVERY.total_seconds(), seen.progress.run_s * KEEP_EVERY_PART)


def _numbers(seen: Sight, decision: Decision) -> dict[str, Any]:
    """Give what a look saw, as a plot and a later reader need it."""
    goal, canary = seen.analysis.goals[0], seen.plan.canaries[0]
    return {
        "state": decision.state.value,
        "share": seen.progress.canary_bp / 10_000,
        "estimate": goal.estimate,
        "interval": goal.interval,
        "margin": goal.margin,
        "labelled": seen.analysis.labelled,
        "log_e": {
            found.name: found.log_e for found in seen.analysis.guardrails if found.arm == canary
        },
        "srm_log_e": seen.analysis.validity.srm.log_e,
        "calls": {
            arm: sum(cell.calls for (_, each), cell in seen.cells.items() if each == arm)
            for arm in (PRIMARY, *seen.plan.canaries)
        },
    }
