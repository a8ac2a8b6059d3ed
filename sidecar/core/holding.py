"""What does a group keep of an experiment that has ended with an answer?

A promotion, a rollback and an inconclusive end hold until somebody edits the group in the
YAML: handing it back at once would give a bad canary its weight again, or take a promoted
one's away. The last intent wins.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sidecar.core.assignment import BUCKETS, PRIMARY, ranges
from sidecar.core.catalogue import Catalogue
from sidecar.core.experiments import Experiment, Hold
from sidecar.core.implicit import Step
from sidecar.core.routing import Arm, Group, Owner

FORMER = "former-primary"  # the arm whose place the promoted one took


@dataclass(frozen=True, slots=True)
class Holds:
    """Which ended experiments hold their groups, and which no longer do.

    Args:
        held: By group.
        steps: Releases that must be stored.
    """

    held: Mapping[str, Experiment]
    steps: tuple[Step, ...]


def hold_for(catalogue: Catalogue, experiment: Experiment, arm: str) -> Hold:
    """Let a group keep one arm of an experiment from now on."""
    return Hold(arm, _fingerprint(catalogue, experiment))


def standing_holds(
    catalogue: Catalogue, experiments: Iterable[Experiment], *, owned: Collection[str]
) -> Holds:
    """Say which holds stand, given the configuration as it is now.

    Args:
        owned: Groups that a running experiment owns; their holds wait, and are not judged.
    """
    held: dict[str, Experiment] = {}
    steps = []
    holding = [e for e in experiments if e.hold is not None and e.ended_at is not None]
    for experiment in sorted(holding, key=lambda e: (e.ended_at, e.id), reverse=True):
        reason = _why_released(catalogue, experiment, held)
        if reason is not None:
            after = replace(experiment, hold=None)
            steps.append(Step(experiment, after, "handed_back", reason))
        else:
            held[experiment.group] = experiment
    return Holds({g: e for g, e in held.items() if g not in owned}, tuple(steps))


def as_held(experiment: Experiment) -> Experiment:
    """Give the experiment's arms the places that they have while it holds its group."""
    arm = experiment.hold.arm if experiment.hold is not None else PRIMARY
    if arm == PRIMARY:
        return experiment
    others = {n: ids for n, ids in experiment.arms.items() if n not in (PRIMARY, arm)}
    arms = {PRIMARY: experiment.arms[arm], FORMER: experiment.arms[PRIMARY], **others}
    return replace(experiment, arms=arms)


def held_group(group: Group, experiment: Experiment) -> Group:
    """Give everything to the primary: the group is recorded, and compared no more."""
    arms = tuple(
        Arm(arm.name, BUCKETS if arm.name == PRIMARY else 0, arm.deployments)
        for arm in group.arms
    )
    return replace(
        group,
        arms=arms,
        ranges=ranges({arm.name: arm.share_bp for arm in arms}),
        owner=Owner.EXPERIMENT,
        experiment_id=None,
        salt="",
        epoch=0,
        stage=0,
        paused=True,  # the others' deployments are in the router, and must get nothing
        unit=None,
        held_by=experiment.id,
    )


def _why_released(
    catalogue: Catalogue, experiment: Experiment, held: Mapping[str, Experiment]
) -> str | None:
    hold, group = experiment.hold, experiment.group
    if hold is None:
        return "it holds nothing"
    if group in held:
        return f"experiment {held[group].id!r} holds the group now"
    if hold.yaml_hash != _fingerprint(catalogue, experiment):
        return "the group was edited in the YAML"
    return None


def _fingerprint(catalogue: Catalogue, experiment: Experiment) -> str:
    """Hash what an edit of the group, or of what the arms are made of, would change."""
    arms = [catalogue.by_id(each) for ids in experiment.arms.values() for each in ids]
    says = [
        None
        if entry is None
        else [entry.group, entry.id, entry.model, entry.arm, entry.task, entry.weight]
        for entry in (*catalogue.in_group(experiment.group), *arms)
    ]
    return hashlib.sha256(json.dumps(says).encode()).hexdigest()
