"""What does a LiteLLM configuration say about groups, arms and weights?

Reads the parsed `proxy_config.yaml`, refuses what could not be routed, and compiles the
rest, together with the running experiments, into groups. The sidecar does this when it
publishes; a proxy worker does it once when nothing was published yet.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sidecar.core.assignment import PRIMARY, basis_points, ranges
from sidecar.core.errors import Invalid
from sidecar.core.experiments import Experiment, Status
from sidecar.core.routing import Arm, Group, Owner, Task
from sidecar.core.verdicts import DEFAULT_LABELS

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One deployment of a `model_list`.

    Args:
        id: `model_info.id`; None when the YAML gives none and LiteLLM makes one up.
        model: LiteLLM's model string, for example `openai/gpt-4.1-mini`.
        weight: As in the YAML; 1 when it gives none.
        labels: Empty when the task is not `judge`.
        raw: The entry as it stands in the YAML.
    """

    group: str
    id: str | None
    model: str
    arm: str
    task: Task
    weight: float
    labels: tuple[str, ...]
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ModelList:
    """A validated configuration: its deployments and the other names of its groups."""

    entries: tuple[Entry, ...]
    aliases: Mapping[str, str]

    def in_group(self, group: str) -> list[Entry]:
        """List a group's deployments in the order of the YAML."""
        return [entry for entry in self.entries if entry.group == group]


def read_model_list(config: Mapping[str, object]) -> ModelList:
    """Validate a parsed `proxy_config.yaml` as far as routing needs it.

    Raises:
        Invalid: Something could not be routed; the message names the entry.
    """
    listed = config.get("model_list")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        msg = "model_list must be a list with at least one deployment"
        raise Invalid(msg)
    entries = tuple(_entry(raw, number) for number, raw in enumerate(listed, start=1))
    ids = [entry.id for entry in entries if entry.id is not None]
    twice = sorted({found for found in ids if ids.count(found) > 1})
    if twice:
        msg = f"model_info.id must be unique, found more than once: {', '.join(twice)}"
        raise Invalid(msg)
    model_list = ModelList(entries, _aliases(config))
    for group in dict.fromkeys(entry.group for entry in entries):
        _check_group(group, model_list.in_group(group))
    return model_list


def compile_groups(
    model_list: ModelList, experiments: Iterable[Experiment] = ()
) -> dict[str, Group]:
    """Give every group its arms and shares.

    Args:
        model_list: The YAML's deployments and the registry's.
        experiments: The active and paused ones. The one that the YAML owns lends the
            group its id, salt, epoch and stage; an explicit one, at most one a group,
            also sets the shares and goes first.

    Raises:
        Invalid: An experiment needs a deployment that is no longer there.
    """
    alive = [e for e in experiments if e.status in (Status.ACTIVE, Status.PAUSED)]
    # Sorted so that an explicit experiment comes last and wins over the YAML's own.
    running = {e.group: e for e in sorted(alive, key=lambda e: e.owner is not Owner.YAML)}
    missing = sorted(set(running) - {entry.group for entry in model_list.entries})
    if missing:
        msg = f"group {missing[0]!r} has a running experiment but no deployment is left"
        raise Invalid(msg)
    names = dict.fromkeys(entry.group for entry in model_list.entries)
    return {name: _group(name, model_list.in_group(name), running.get(name)) for name in names}


def implicit_id(group: str) -> str:
    """Name the experiment that a group's weights alone make; it is its salt, too."""
    return f"yaml-{group}"


def yaml_shares(entries: Sequence[Entry]) -> dict[str, int]:
    """Give the shares that a group's weights mean, in basis points, `primary` first."""
    weights: dict[str, float] = {PRIMARY: 0.0} | dict.fromkeys(_arm_names(entries), 0.0)
    for entry in entries:
        weights[entry.arm] += entry.weight
    return basis_points(weights)


def _arm_names(entries: Sequence[Entry]) -> list[str]:
    return sorted({entry.arm for entry in entries}, key=lambda arm: (arm != PRIMARY, arm))


def _group(name: str, entries: Sequence[Entry], running: Experiment | None) -> Group:
    """Build one group, from its weights or from its experiment."""
    if running is not None and running.owner is Owner.EXPERIMENT:
        share_bp = dict(running.share_bp)
    else:
        share_bp = yaml_shares(entries)
    arms = tuple(Arm(arm, bp, _deployments(entries, arm)) for arm, bp in share_bp.items())
    for arm in arms:
        if len(arms) > 1 and not arm.deployments:
            msg = f"arm {arm.name!r} of group {name!r} has no deployment left"
            raise Invalid(msg)
    group = Group(name, entries[0].task, arms, ranges(share_bp), _labels(entries))
    if running is None or len(arms) == 1:
        return group
    return replace(
        group,
        owner=running.owner,
        experiment_id=running.id,
        salt=running.salt,
        epoch=running.epoch,
        stage=running.stage,
        paused=running.status is Status.PAUSED,
        unit=running.unit,
    )


def _deployments(entries: Sequence[Entry], arm: str) -> tuple[str, ...]:
    """List the ids that may serve an arm: those with a weight, or all when none has one."""
    mine = [entry for entry in entries if entry.arm == arm and entry.id is not None]
    weighted = [entry for entry in mine if entry.weight > 0]
    return tuple(entry.id for entry in weighted or mine if entry.id is not None)


def _labels(entries: Sequence[Entry]) -> tuple[str, ...]:
    return next((entry.labels for entry in entries if entry.labels), ())


def _check_group(group: str, entries: Sequence[Entry]) -> None:
    """Refuse a group whose deployments contradict each other."""
    if len({entry.task for entry in entries}) > 1:
        tasks = sorted({entry.task.value for entry in entries})
        msg = f"group {group!r} has deployments of different tasks: {', '.join(tasks)}"
        raise Invalid(msg)
    if len({entry.labels for entry in entries if "labels" in _info(entry.raw)}) > 1:
        msg = f"group {group!r} has deployments with different label sets"
        raise Invalid(msg)
    arms = _arm_names(entries)
    if PRIMARY not in arms:
        msg = f"group {group!r} has the arms {', '.join(arms)}, but none is 'primary'"
        raise Invalid(msg)
    if len(arms) > 1 and any(entry.id is None for entry in entries):
        msg = f"group {group!r} has {len(arms)} arms; each deployment needs a model_info.id"
        raise Invalid(msg)
    if sum(entry.weight for entry in entries) <= 0:
        msg = f"group {group!r} has only weights of 0; at least one must be above 0"
        raise Invalid(msg)


def _entry(raw: object, number: int) -> Entry:
    """Read one entry of the list; `number` counts from 1, for messages."""
    if not isinstance(raw, Mapping):
        msg = f"model_list entry {number} must be a mapping, found {type(raw).__name__}"
        raise Invalid(msg)
    group, params, info = raw.get("model_name"), raw.get("litellm_params"), _info(raw)
    if not isinstance(group, str) or not group:
        msg = f"model_list entry {number} needs a model_name"
        raise Invalid(msg)
    if not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
        msg = f"model_list entry {number} ({group}) needs litellm_params.model"
        raise Invalid(msg)
    where = f"model_list entry {number} ({group})"
    task = _task(info.get("task"), where)
    found = info.get("id")
    return Entry(
        group=group,
        id=None if found is None else str(found),
        model=str(params["model"]),
        arm=_arm(info.get("arm"), where),
        task=task,
        weight=_weight(params.get("weight"), where),
        labels=_label_set(info, task, where),
        raw=raw,
    )


def _info(raw: Mapping[str, object]) -> Mapping[str, object]:
    info = raw.get("model_info")
    return info if isinstance(info, Mapping) else {}


def _arm(found: object, where: str) -> str:
    """Read an arm's name: short and plain, for it stands in headers, URLs and tables."""
    if found is None:
        return PRIMARY
    if not isinstance(found, str) or not _PLAIN_NAME.fullmatch(found):
        msg = (
            f"{where}: model_info.arm must be 'primary', 'canary' or another plain name "
            f"(letters, digits, - and _, at most 40), found {found!r}"
        )
        raise Invalid(msg)
    return found


def _task(found: object, where: str) -> Task:
    if found is None:
        return Task.OTHER
    try:
        return Task(str(found))
    except ValueError:
        possible = ", ".join(Task)
        msg = f"{where}: model_info.task must be one of {possible}, found {found!r}"
        raise Invalid(msg) from None


def _weight(found: object, where: str) -> float:
    if found is None:
        return 1.0
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not isinstance(found, int | float) or not number or not 0 <= found < math.inf:
        msg = f"{where}: litellm_params.weight must be a number of at least 0, found {found!r}"
        raise Invalid(msg)
    return float(found)


def _label_set(info: Mapping[str, object], task: Task, where: str) -> tuple[str, ...]:
    """Read `model_info.labels`; a judge without them has the default set."""
    found = info.get("labels")
    if task is not Task.JUDGE:
        return ()
    if found is None:
        return DEFAULT_LABELS
    if not isinstance(found, list) or not all(isinstance(x, str) and x.strip() for x in found):
        msg = f"{where}: model_info.labels must be a list of names, found {found!r}"
        raise Invalid(msg)
    if not found or len({label.strip().casefold() for label in found}) < len(found):
        msg = f"{where}: model_info.labels must name at least one label, each once"
        raise Invalid(msg)
    return tuple(label.strip() for label in found)


def _aliases(config: Mapping[str, object]) -> dict[str, str]:
    """Read `router_settings.model_group_alias`: name to group, or to {model: group}."""
    settings = config.get("router_settings")
    found = settings.get("model_group_alias") if isinstance(settings, Mapping) else None
    aliases: dict[str, str] = {}
    for name, target in found.items() if isinstance(found, Mapping) else ():
        group = target.get("model") if isinstance(target, Mapping) else target
        if isinstance(name, str) and isinstance(group, str):
            aliases[name] = group
    return aliases
