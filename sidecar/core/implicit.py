"""How do the experiments that the YAML's weights make keep up with the YAML?

A group with two arms or more has one, of its own accord. It begins, changes, steps aside
for an explicit experiment, ends and comes back as the YAML says; people do not move it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sidecar.core.experiments import Experiment, Outcome, Status
from sidecar.core.model_list import implicit_id
from sidecar.core.planning import plan_for
from sidecar.core.routing import Group, Owner

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Step:
    """A change of an experiment that was not made by a person.

    Args:
        before: None for one that begins.
        action: As the audit names it.
    """

    before: Experiment | None
    after: Experiment
    action: str
    reason: str


def follow_yaml(
    groups: Mapping[str, Group],
    found: Mapping[str, Experiment],
    *,
    owned: Collection[str],
    swapped: Collection[str],
    now: datetime,
) -> list[Step]:
    """Say which steps the YAML's experiments take.

    Args:
        groups: As the YAML alone makes them.
        found: The YAML's experiments so far, by group, in any status.
        owned: Groups that an explicit experiment owns.
        swapped: Deployments that became another model under the same id.
    """
    steps = []
    for name in dict.fromkeys((*groups, *found)):
        group, experiment = groups.get(name), found.get(name)
        if name in owned:
            step = _step_aside(experiment)
        elif group is None or not group.is_split:
            step = _end(experiment, now)
        elif experiment is None:
            step = _begin(group, now)
        else:
            step = _continue(experiment, group, frozenset(swapped))
        if step is not None:
            steps.append(step)
    return steps


def waiting_shares(
    groups: Mapping[str, Group], found: Mapping[str, Experiment], *, owned: Collection[str]
) -> dict[str, dict[str, int]]:
    """Say which shares the YAML was given while an explicit experiment owned the group."""
    waiting = {}
    for name in owned:
        group, experiment = groups.get(name), found.get(name)
        if group is None:
            continue
        running = experiment is not None and experiment.status is not Status.COMPLETED
        if experiment is not None and running:
            as_it_was = _shares(group) == dict(experiment.share_bp) and (
                _arms(group) == _as_sets(experiment.arms)
            )
        else:
            as_it_was = not group.is_split
        if not as_it_was:
            waiting[name] = _shares(group)
    return waiting


def _begin(group: Group, now: datetime) -> Step:
    experiment = Experiment(
        id=implicit_id(group.name),
        group=group.name,
        project_id=DEFAULT_PROJECT,
        salt=implicit_id(group.name),
        share_bp=_shares(group),
        arms={arm.name: arm.deployments for arm in group.arms},
        plan=plan_for(None, group, unit=None),
        created_at=now,
        started_at=now,
        owner=Owner.YAML,
        status=Status.ACTIVE,
        epoch=1,
        stage=1,
    )
    return Step(None, experiment, "started", "the YAML gives the group several arms")


def _step_aside(experiment: Experiment | None) -> Step | None:
    if experiment is None or experiment.status is not Status.ACTIVE:
        return None
    after = replace(experiment, status=Status.PAUSED)
    return Step(experiment, after, "paused", "an explicit experiment owns the group")


def _end(experiment: Experiment | None, now: datetime) -> Step | None:
    if experiment is None or experiment.status is Status.COMPLETED:
        return None
    after = replace(experiment, status=Status.COMPLETED, outcome=Outcome.STOPPED, ended_at=now)
    return Step(experiment, after, "stopped", "the YAML gives the group a single arm")


def _continue(experiment: Experiment, group: Group, swapped: frozenset[str]) -> Step | None:
    """Keep an experiment in step with its group, or take it up again."""
    deployments = {d for arm in group.arms for d in arm.deployments}
    plan = plan_for(None, group, unit=None)
    other_plan = experiment.plan is not None and plan != experiment.plan
    other_arms = _arms(group) != _as_sets(experiment.arms)
    was_over = experiment.status is Status.COMPLETED
    current = replace(
        experiment,
        status=Status.ACTIVE,
        outcome=None,
        ended_at=None,
        share_bp=_shares(group),
        arms={arm.name: arm.deployments for arm in group.arms},
        plan=plan,
    )
    if was_over or other_arms or other_plan or swapped & deployments:
        reason = "the group is split again" if was_over else "the group's arms changed"
        if other_plan and not other_arms:
            reason = "what the group's answers are changed"
        after = replace(current, epoch=experiment.epoch + 1, stage=1)
        return Step(experiment, after, "epoch_opened", reason)
    same_shares = _shares(group) == dict(experiment.share_bp)
    if experiment.status is Status.ACTIVE and same_shares:
        return None
    reason = "the group was handed back" if same_shares else "the YAML's shares changed"
    after = replace(current, stage=experiment.stage + 1)
    return Step(experiment, after, "stage_opened", reason)


def _shares(group: Group) -> dict[str, int]:
    return {arm.name: arm.share_bp for arm in group.arms}


def _arms(group: Group) -> dict[str, frozenset[str]]:
    # As sets: reordering the entries of a YAML changes nothing.
    return {arm.name: frozenset(arm.deployments) for arm in group.arms}


def _as_sets(arms: Mapping[str, tuple[str, ...]]) -> dict[str, frozenset[str]]:
    return {arm: frozenset(ids) for arm, ids in arms.items()}
