"""What is published, given the YAML, the registry, the experiments and the keys?

Pure: the same sources give the same table, so a table that is already published need not
be published again. Also says which steps the YAML's own experiments take on the way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sidecar.core.catalogue import Catalogue, copied, listed
from sidecar.core.errors import Invalid
from sidecar.core.experiments import Experiment, Status
from sidecar.core.holding import as_held, held_group, standing_holds
from sidecar.core.implicit import Step, follow_yaml, waiting_shares
from sidecar.core.model_list import Entry, ModelList, compile_groups
from sidecar.core.redaction import has_secret
from sidecar.core.registry import base_model_of
from sidecar.core.routing import Caller, Group, Owner, RoutingTable

_PRICES = ("input_cost_per_token", "output_cost_per_token", "input_cost_per_second")


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a routing table is made of.

    Args:
        experiments: The running ones, those that hold their groups, and every one that the
            YAML owns.
        keys: Callers by the SHA-256 (hex) of their key.
        before: The model behind each deployment id in the last published table; a
            deployment that now is another model opens a new epoch.
    """

    catalogue: Catalogue
    experiments: tuple[Experiment, ...]
    keys: Mapping[str, Caller]
    before: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A table that has no generation yet, and what follows from it.

    Args:
        steps: Changes of experiments that must be stored with it.
        waiting: Shares in basis points that the YAML asks for, by groups that an
            experiment owns.
    """

    table: RoutingTable
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    waiting: Mapping[str, Mapping[str, int]]


def draft_table(sources: Sources, *, now: datetime) -> Draft:
    """Make the routing table.

    Raises:
        Invalid: A running experiment uses a deployment that is no longer there.
    """
    catalogue, explicit = sources.catalogue, _running(sources.experiments)
    holds = standing_holds(catalogue, sources.experiments, owned=explicit.keys())
    owned = explicit.keys() | holds.held.keys()
    implicit = {e.group: e for e in sources.experiments if e.owner is Owner.YAML}
    yaml_groups = compile_groups(catalogue.routed)
    swapped = _swapped(catalogue, sources.before)
    steps = (
        *_new_epochs(explicit.values(), swapped),
        *holds.steps,
        *follow_yaml(yaml_groups, implicit, owned=owned, swapped=swapped, now=now),
    )
    after = {e.id: e for e in sources.experiments} | {s.after.id: s.after for s in steps}
    placed = place(catalogue, (*explicit.values(), *map(as_held, holds.held.values())))
    groups = compile_groups(placed, after.values())
    groups |= {name: held_group(groups[name], e) for name, e in holds.held.items()}
    table = RoutingTable(
        generation=0,
        hash="",
        groups=groups,
        aliases=dict(catalogue.aliases),
        entries=_entries(catalogue, placed),
        keys=dict(sources.keys),
    )
    waiting = waiting_shares(yaml_groups, implicit, owned=explicit.keys())
    return Draft(table, steps, catalogue.warnings, waiting)


def place(catalogue: Catalogue, experiments: Iterable[Experiment]) -> ModelList:
    """Give every group the deployments that serve it while these experiments run.

    Args:
        experiments: Explicit ones, at most one a group, with their arms' deployments.

    Raises:
        Invalid: An experiment uses a deployment that is no longer there, or one that
            cannot be copied into its group.
    """
    owned = {experiment.group: experiment for experiment in experiments}
    kept = [entry for entry in catalogue.routed.entries if entry.group not in owned]
    arms = [entry for e in owned.values() for entry in _arm_entries(catalogue, e)]
    return ModelList((*kept, *arms), catalogue.aliases)


def check_experiment(catalogue: Catalogue, experiment: Experiment) -> Group:
    """Say how an experiment's group would look, were it running.

    Raises:
        Invalid: It could not run; the message says why.
    """
    alone = replace(experiment, status=Status.ACTIVE)
    return compile_groups(place(catalogue, [alone]), [alone])[experiment.group]


def published(entry: Entry) -> dict[str, object]:
    """Give a deployment in the form in which the proxy's router takes it.

    LiteLLM takes a fine-tuned model to be free, unless it is told what it derives from.
    """
    info, params = entry.raw.get("model_info"), entry.raw.get("litellm_params")
    info = dict(info) if isinstance(info, Mapping) else {}
    params = dict(params) if isinstance(params, Mapping) else {}
    base_model = base_model_of(entry.model)
    says_price = any(key in (*info, *params) for key in (*_PRICES, "base_model"))
    if base_model is not None and not says_price:
        info["base_model"] = base_model
    return {**entry.raw, "litellm_params": params, "model_info": {**info, "id": entry.id}}


def _running(experiments: Iterable[Experiment]) -> dict[str, Experiment]:
    """Find the experiments that own their groups, by group."""
    running = (Status.ACTIVE, Status.PAUSED)
    explicit = [e for e in experiments if e.owner is Owner.EXPERIMENT]
    return {e.group: e for e in explicit if e.status in running}


def _arm_entries(catalogue: Catalogue, experiment: Experiment) -> list[Entry]:
    """List the deployments of an experiment's arms, those of other groups as copies."""
    entries = []
    own = catalogue.in_group(experiment.group)
    for arm, ids in experiment.arms.items():
        for deployment_id in ids:
            entry = catalogue.by_id(deployment_id)
            if entry is None:
                known = [e.id for e in catalogue.entries if e.id]
                msg = (
                    f"experiment {experiment.id!r} on group {experiment.group!r} uses the "
                    f"deployment {deployment_id!r}, which is gone; there are {listed(known)}"
                )
                raise Invalid(msg)
            entries.append(_in_arm(entry, experiment, arm, own))
    return entries


def _in_arm(entry: Entry, experiment: Experiment, arm: str, own: Sequence[Entry]) -> Entry:
    """Put a deployment into an arm of an experiment."""
    group = experiment.group
    if entry.group == group:
        return replace(entry, arm=arm)
    if has_secret(entry.raw):
        msg = (
            f"deployment {entry.id!r} has a literal key, so it cannot serve group {group!r}; "
            "use os.environ/NAME"
        )
        raise Invalid(msg)
    copy = copied(entry, group=group, arm=arm, deployment_id=f"{group}/{arm}/{entry.id}")
    # What its answers are, is for the group to say: they are read and compared alike.
    task, labels = (own[0].task, own[0].labels) if own else (entry.task, entry.labels)
    return replace(copy, task=task, labels=labels)


def _entries(catalogue: Catalogue, placed: ModelList) -> dict[str, dict[str, object]]:
    """List the router's deployments: what is routed now, and what will be again."""
    every = (*catalogue.routed.entries, *placed.entries)
    return {
        entry.id: published(entry)
        for entry in every
        if entry.id is not None and not has_secret(entry.raw)
    }


def _swapped(catalogue: Catalogue, before: Mapping[str, str]) -> frozenset[str]:
    """Name the deployments that kept their id and became another model."""
    return frozenset(
        entry.id
        for entry in catalogue.entries
        if entry.id is not None and before.get(entry.id, entry.model) != entry.model
    )


def _new_epochs(experiments: Iterable[Experiment], swapped: frozenset[str]) -> list[Step]:
    """Open an epoch where an arm is no longer the model it was: what is compared changed."""
    steps = []
    for experiment in experiments:
        changed = swapped & {d for ids in experiment.arms.values() for d in ids}
        if changed:
            stage = 1 if experiment.status is Status.ACTIVE else 0
            after = replace(experiment, epoch=experiment.epoch + 1, stage=stage)
            reason = f"another model behind {listed(sorted(changed))}"
            steps.append(Step(experiment, after, "epoch_opened", reason))
    return steps
