"""Who may answer a request? The routing table, and the two decisions taken from it.

`decide` gives a unit its arm; `eligible` says which deployments may serve it now, given
who is healthy and who has already failed. Standard library only: the proxy loads this.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.core.assignment import PRIMARY, Range, arm_of, bucket_of


class Task(StrEnum):
    """What a group's answers are."""

    JUDGE = "judge"
    DRAFT = "draft"
    OTHER = "other"


class Owner(StrEnum):
    """Whose word sets a group's shares: the YAML's weights, or an experiment's."""

    YAML = "yaml"
    EXPERIMENT = "experiment"


class UnitSource(StrEnum):
    """Where a unit id came from, in the order in which the sources are tried."""

    HEADER = "header"
    METADATA = "metadata"
    USER = "user"
    SESSION = "session"
    CALL = "call"  # nothing was sent: the call is its own unit, and is not sticky


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the compared alternatives of a group.

    Args:
        share_bp: Designed probability in basis points; 0 means no traffic, ever.
        deployments: Ids that may serve the arm; empty when the group has a single arm
            whose deployments need no telling apart.
    """

    name: str
    share_bp: int
    deployments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A LiteLLM model group and how its calls are split.

    Args:
        arms: `primary` first, then the canaries by name.
        ranges: The arms' buckets, derived from the shares.
        experiment_id: None when there is one arm: recorded, not split.
        epoch, stage: Count from 1; 0 when there is no experiment.
        paused: The primary serves all and nothing is analysed, because the experiment is
            paused or because an ended one holds the group.
        held_by: The ended experiment whose answer is in force; None when none is.
        unit: The only source a unit may come from, or None for the order of precedence.
        labels: What a judge may answer; empty when the task is not `judge`.
    """

    name: str
    task: Task
    arms: tuple[Arm, ...]
    ranges: tuple[Range, ...]
    labels: tuple[str, ...] = ()
    owner: Owner = Owner.YAML
    experiment_id: str | None = None
    salt: str = ""
    epoch: int = 0
    stage: int = 0
    paused: bool = False
    unit: UnitSource | None = None
    held_by: str | None = None

    def arm(self, name: str) -> Arm | None:
        """Return the arm of that name, if the group has one."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @property
    def is_split(self) -> bool:
        """Whether calls are assigned between arms."""
        return len(self.arms) > 1


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an API key stands for.

    Args:
        models: Groups the key may ask for; empty means every group.
        scopes: Of `infer`, `read`, `review`, `operate`, `admin`.
        expires_at: Aware; None for a key that does not expire.
    """

    key_id: str
    project_id: str
    scopes: frozenset[str]
    models: frozenset[str] = frozenset()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything a proxy worker needs to know, published as one file.

    Args:
        generation: Rises by one with each published change; 0 is a worker's own reading
            of its YAML before anything was published.
        hash: SHA-256 of the content, without generation and time.
        aliases: Other names a client may use, to group names.
        entries: LiteLLM `model_list` entries that are not secret, by deployment id.
        keys: Callers by the SHA-256 (hex) of their key.
    """

    generation: int
    hash: str
    groups: Mapping[str, Group]
    aliases: Mapping[str, str]
    entries: Mapping[str, Mapping[str, object]]
    keys: Mapping[str, Caller]

    def group(self, model: str) -> Group | None:
        """Find the group a client's `model` means, directly or through an alias."""
        return self.groups.get(self.aliases.get(model, model))


@dataclass(frozen=True, slots=True)
class Unit:
    """What is randomised over, and where it was found."""

    id: str
    source: UnitSource

    @property
    def is_sticky(self) -> bool:
        """Whether a later call of the same unit can get the same arm."""
        return self.source is not UnitSource.CALL


@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer to "which arm?", with what it follows from."""

    arm: str
    bucket: int | None  # None: a single arm, nothing was drawn
    share_bp: int


def decide(group: Group, unit: Unit) -> Assignment:
    """Assign a unit to an arm, over the full configured group.

    What is healthy plays no part: an assignment that moved with the weather could not
    be analysed as randomised.
    """
    if not group.is_split or group.paused:
        only = group.arm(PRIMARY) or group.arms[0]
        return Assignment(only.name, None, 10_000)
    bucket = bucket_of(unit.id, salt=group.salt)
    name = arm_of(bucket, group.ranges)
    arm = group.arm(name)
    return Assignment(name, bucket, arm.share_bp if arm else 0)


def eligible(
    group: Group, assigned: str, *, healthy: Collection[str], tried: Collection[str]
) -> frozenset[str] | None:
    """Say which deployments may serve the next try of a call.

    The assigned arm's that have not failed this call come first. When none is left, a
    canary's call goes to the primary; the primary's never goes to a canary, but may try
    its own again. An arm of share 0 gets nothing.

    Args:
        healthy: Ids LiteLLM offers: not cooling down, not excluded.
        tried: Ids that have already failed this call.

    Returns:
        Ids out of `healthy`, possibly none; or None when the group needs no filtering.
    """
    if not group.is_split:
        return None
    order = [assigned] if assigned == PRIMARY else [assigned, PRIMARY]
    arms = [arm for name in order if (arm := group.arm(name)) and _serves(group, arm)]
    candidates = [frozenset(arm.deployments) & frozenset(healthy) for arm in arms]
    for ids in candidates:
        if fresh := ids - frozenset(tried):
            return fresh
    return candidates[-1] if candidates else frozenset()


def _serves(group: Group, arm: Arm) -> bool:
    """Whether an arm gets traffic: by its share, or because a pause gives it all."""
    return arm.name == PRIMARY if group.paused else arm.share_bp > 0
