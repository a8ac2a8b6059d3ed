"""How is a decision carried out, by a person or the controller, and how taken back?

A decision and what follows from it are one transaction: killed in between, neither is there,
and the next look decides again. Whoever decides, the experiment changes in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core import acting
from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.decision import Decision
from sidecar.core.errors import Conflict, IllegalMove, Invalid
from sidecar.core.experiments import (
    Experiment,
    Outcome,
    Status,
    conclude,
    reopen,
    with_shares,
)
from sidecar.core.holding import hold_for
from sidecar.core.plan import Plan, plan_hash
from sidecar.core.ramp import shares_of
from sidecar.core.readings import State
from sidecar.service import routes
from sidecar.service.experiments import Asked, check_free, for_change
from sidecar.service.stretches import save_change
from sidecar.service.views import ExperimentView, view
from sidecar.store import decisions, generations, stages
from sidecar.store.events import By

_ACTIONS = {
    State.PROMOTE: "promoted",
    State.ROLLBACK: "rolled_back",
    State.ADVANCE: "advanced",
    State.INCONCLUSIVE: "ended_inconclusive",
    State.HOLD: "held",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """The look that a decision rests on, and what was done.

    Args:
        look: Its number; 0 when a person decided without one.
        action: Empty when nothing was.
    """

    look: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)
    action: Mapping[str, Any] = field(default_factory=dict)


async def promote(tx: AsyncConnection, asked: Asked, arm: str | None) -> ExperimentView:
    """Give a canary the traffic, because a person says so.

    Args:
        arm: Which canary; None when there is only one.

    Raises:
        Invalid: There is no such canary, or no reason was given.
        IllegalMove: The experiment does not run.
    """
    experiment = await for_change(tx, asked)
    plan = plan_of(experiment)
    canary = _canary(experiment, arm)
    decision = acting.by_hand(
        plan, State.PROMOTE, actor=asked.by.actor, why=asked.by.reason or ""
    )
    return await carry_out(tx, experiment, decision, Seen(), asked.by, canary=canary)


async def roll_back(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """Take the canaries out of traffic, because a person says so.

    Raises:
        Invalid: No reason was given.
        IllegalMove: The experiment does not run.
    """
    experiment = await for_change(tx, asked)
    decision = acting.by_hand(
        plan_of(experiment), State.ROLLBACK, actor=asked.by.actor, why=asked.by.reason or ""
    )
    return await carry_out(tx, experiment, decision, Seen(), asked.by)


async def undo(tx: AsyncConnection, asked: Asked) -> ExperimentView:
    """Take back the latest decision that changed the shares, whoever took it.

    From then on the controller only watches, until the plan is set anew or a person promotes.

    Raises:
        Conflict: There is nothing to undo, or another experiment owns the group by now.
        Invalid: No reason was given.
        IllegalMove: It holds its group no more.
    """
    experiment = await for_change(tx, asked)
    found = await decisions.in_force(tx, experiment.id, experiment.epoch)
    last = next((d for d in found if d.action and "undoes" not in d.action), None)
    if last is None:
        msg = f"experiment {experiment.id!r} has no decision that could be undone"
        raise Conflict(msg)
    await check_free(tx, experiment)
    canary_bp = BUCKETS - last.share_bp.get(PRIMARY, 0)
    decision = acting.undone(canary_bp, actor=asked.by.actor, why=asked.by.reason or "")
    after = _reopened(experiment, last)
    stored = await save_change(tx, experiment, after, "undone", asked.by)
    noted = await note(tx, experiment, decision, Seen(action={"undoes": last.id}), asked.by)
    await decisions.mark_undone(tx, last.id, noted)
    return view(stored, await stages.of_experiment(tx, experiment.id))


async def carry_out(
    tx: AsyncConnection,
    experiment: Experiment,
    decision: Decision,
    seen: Seen,
    by: By,
    *,
    canary: str | None = None,
) -> ExperimentView:
    """Do what a decision says, and note it with all it rests on.

    Args:
        canary: The one that a promotion means; None for the only one.

    Raises:
        IllegalMove: The experiment does not run.
        Invalid: It has several canaries, and a promotion names none.
    """
    after = await _after(tx, experiment, decision, by, canary)
    shares = {arm: bp / BUCKETS for arm, bp in after.share_bp.items()}
    action: dict[str, Any] = {"shares": shares}
    if after.outcome is not None:
        action["outcome"] = after.outcome.value
    if experiment.status is Status.PAUSED:
        action["was_paused"] = True
    await note(tx, experiment, decision, replace(seen, action=action), by)
    stored = await save_change(tx, experiment, after, _ACTIONS[decision.state], by)
    return view(stored, await stages.of_experiment(tx, experiment.id))


def promoted_arm(noted: Sequence[decisions.Decision]) -> str | None:
    """Name the canary that was promoted; None when none was, or it was only advised.

    Args:
        noted: Decisions in force, newest first.
    """
    done = (d.action.get("shares") for d in noted if d.state == State.PROMOTE)
    shares: Mapping[str, float] | None = next(filter(None, done), None)
    if shares is None:
        return None
    return max((arm for arm in shares if arm != PRIMARY), key=lambda arm: shares[arm])


def plan_of(experiment: Experiment) -> Plan:
    """Return the experiment's plan.

    Raises:
        Invalid: It was begun before there were plans.
    """
    if experiment.plan is None:
        msg = f"experiment {experiment.id!r} has no plan; give it one with PUT .../plan"
        raise Invalid(msg)
    return experiment.plan


async def _after(
    tx: AsyncConnection, experiment: Experiment, decision: Decision, by: By, arm: str | None
) -> Experiment:
    """Say what becomes of the experiment."""
    share_bp = decision.set_canary_bp
    if share_bp is None:
        msg = f"a decision to {decision.state} without a share cannot be carried out"
        raise Invalid(msg)
    ends = _ends(decision, share_bp)
    is_promotion = decision.state is State.PROMOTE
    keeps = _canary(experiment, arm) if is_promotion else PRIMARY
    if ends is not None:
        hold = hold_for(await routes.catalogue(tx), experiment, keeps)
        return conclude(experiment, ends, hold, now=by.now)
    if experiment.status is not Status.ACTIVE:
        msg = f"experiment {experiment.id!r} is {experiment.status}; it must be active"
        raise IllegalMove(msg)
    if is_promotion:
        others = dict.fromkeys(experiment.share_bp, 0)
        return with_shares(experiment, {**others, PRIMARY: BUCKETS - share_bp, keeps: share_bp})
    return with_shares(experiment, shares_of(plan_of(experiment), share_bp))


def _reopened(experiment: Experiment, last: decisions.Decision) -> Experiment:
    """Give an experiment what it had before a decision; undoing never ends a pause."""
    after = reopen(experiment, last.share_bp)
    if experiment.status is Status.PAUSED or last.action.get("was_paused"):
        return replace(after, status=Status.PAUSED, stage=experiment.stage)
    return after


def _ends(decision: Decision, share_bp: int) -> Outcome | None:
    """Say with which outcome a decision ends the experiment; None when it goes on."""
    if decision.state is State.PROMOTE and share_bp == BUCKETS:
        return Outcome.PROMOTED
    if decision.state is State.ROLLBACK:
        return Outcome.ROLLED_BACK
    return Outcome.INCONCLUSIVE if decision.state is State.INCONCLUSIVE else None


def _canary(experiment: Experiment, arm: str | None) -> str:
    canaries = [name for name in experiment.share_bp if name != PRIMARY]
    if arm is None and len(canaries) == 1:
        return canaries[0]
    if arm not in canaries:
        found = "none was named" if arm is None else f"found {arm!r}"
        msg = f"name the canary to promote: {', '.join(canaries)}; {found}"
        raise Invalid(msg)
    return arm


async def note(
    tx: AsyncConnection, experiment: Experiment, decision: Decision, seen: Seen, by: By
) -> int:
    """Keep a decision, be it carried out or advice; returns its id."""
    present = await generations.number(tx)
    row = decisions.Decision(
        experiment_id=experiment.id,
        epoch=experiment.epoch,
        look=seen.look,
        at=by.now,
        state=decision.state.value,
        action=seen.action,
        reasons=decision.reasons,
        numbers={
            **seen.numbers,
            "text": decision.text,
            "why": decision.why,
            "generation": present,  # the one that it follows
        },
        plan_hash=plan_hash(plan_of(experiment)),
        share_bp=experiment.share_bp,
        actor=by.actor,
    )
    return await decisions.add(tx, row)
