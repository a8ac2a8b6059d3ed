"""Which deployments become the arms of an experiment that somebody asks for, by which plan?"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.catalogue import Catalogue, listed
from sidecar.core.errors import Invalid
from sidecar.core.keys import check_project
from sidecar.core.plan import Plan
from sidecar.core.plan_reading import plan_from
from sidecar.core.ramp import shares_of
from sidecar.core.routing import Group, Task, UnitSource

_RAMP_FIELDS = ("ramp", "horizon", "min_duration_s")  # which are checked together
_ARM = re.compile(r"[A-Za-z0-9_-]{1,40}")  # as in the YAML: it stands in headers


@dataclass(frozen=True, slots=True)
class Wish:
    """An experiment as it is asked for.

    Args:
        group: None for the group that the primary serves today.
        shares: Probabilities by arm.
        arms: Names of deployments or models by arm; an arm left out has the deployments
            that the YAML gives it in the group.
        plan: As typed; what it leaves out has its default. None for the default plan.
    """

    group: str | None
    shares: Mapping[str, float]
    arms: Mapping[str, Sequence[str]]
    unit: UnitSource | None
    hypothesis: str | None
    project_id: str
    plan: Mapping[str, object] | None = None


def check_wish(wish: Wish) -> Wish:
    """Refuse names that cannot be names.

    Raises:
        Invalid: The project or an arm has a name that is no plain one.
    """
    check_project(wish.project_id)
    odd = [arm for arm in (*wish.shares, *wish.arms) if not _ARM.fullmatch(arm)]
    if odd:
        msg = f"an arm's name is letters, digits, '-' and '_', at most 40, found {odd[0]!r}"
        raise Invalid(msg)
    extra = sorted(set(wish.arms) - set(wish.shares))
    if extra:
        shared = listed(list(wish.shares))
        msg = f"arms names {listed(extra)}, which have no share; shares names {shared}"
        raise Invalid(msg)
    return wish


def plan_for(
    document: Mapping[str, object] | None, group: Group, *, unit: UnitSource | None
) -> Plan:
    """Make the plan of an experiment on a group.

    Args:
        document: As typed, or None; it need not repeat what the group says.
        group: With the experiment's arms in place.
        unit: The only source of a unit that the experiment was asked for with.

    Raises:
        Invalid: It makes no sense, or contradicts the group.
    """
    known: dict[str, object] = {
        "task": str(group.task),
        "labels": list(group.labels),
        "canaries": [arm.name for arm in group.arms if arm.name != PRIMARY],
        "unit": None if unit is None else str(unit),
    }
    given = {} if document is None else dict(document)
    for name, value in known.items():
        if name in given and given[name] != value:
            msg = f"plan.{name} is {given[name]!r}; expected {value!r}, as the group has it"
            raise Invalid(msg)
    if group.task is Task.OTHER:
        # Nothing is known of what its answers are for; the first feedback may be approval.
        given.setdefault("goal", {"metric": "approved"})
    return plan_from({**given, **known})


def first_step(document: Mapping[str, object] | None, arms: Iterable[str]) -> dict[str, float]:
    """Give the shares of the first step of a plan's ramp.

    Args:
        arms: Those that were named; a single canary is called `canary` when none was.

    Raises:
        Invalid: The plan's ramp makes no sense.
    """
    given = {} if document is None else document
    canaries = [arm for arm in arms if arm != PRIMARY]
    known = {name: given[name] for name in _RAMP_FIELDS if name in given}
    plan = plan_from({**known, **({"canaries": canaries} if canaries else {})})
    share_bp = shares_of(plan, plan.ramp[0].share_bp)
    return {arm: bp / BUCKETS for arm, bp in share_bp.items()}


def with_slow(
    document: Mapping[str, object] | None, usual_ms: float | None
) -> Mapping[str, object]:
    """Freeze what counts as slow, where the plan does not say: what the primary rarely takes.

    Args:
        usual_ms: The primary's 95th percentile so far; None when that is not known, and
            latency is then shown, but guards nothing.
    """
    given = {} if document is None else dict(document)
    return given if usual_ms is None or "slow_ms" in given else {**given, "slow_ms": usual_ms}


def arms_for(catalogue: Catalogue, wish: Wish) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Find the group and the deployments of each arm.

    Returns:
        The group, and deployment ids by arm, `primary` first.

    Raises:
        NotFound: There is no such group.
        Invalid: An arm has no deployment, or shares one with another arm.
    """
    group = _group_of(catalogue, wish)
    order = sorted(wish.shares, key=lambda arm: (arm != PRIMARY, arm))
    arms = {arm: _deployments(catalogue, wish, group, arm) for arm in order}
    seen: dict[str, str] = {}
    for arm, ids in arms.items():
        for deployment_id in ids:
            if deployment_id in seen:
                msg = (
                    f"deployment {deployment_id!r} is in the arms {seen[deployment_id]!r} and "
                    f"{arm!r}; an arm must differ from the others"
                )
                raise Invalid(msg)
            seen[deployment_id] = arm
    return group, arms


def _group_of(catalogue: Catalogue, wish: Wish) -> str:
    if wish.group is not None:
        return catalogue.group_named(wish.group)
    named = wish.arms.get(PRIMARY)
    if not named:
        msg = "say which group to experiment on, or name the deployments of 'primary' in arms"
        raise Invalid(msg)
    return catalogue.home_of(named[0])


def _deployments(catalogue: Catalogue, wish: Wish, group: str, arm: str) -> tuple[str, ...]:
    """List an arm's deployments: those asked for, or the group's own of that arm."""
    if arm in wish.arms:
        names = wish.arms[arm]
        found = [entry for name in names for entry in catalogue.find(name)]
        if not found:
            msg = f"arm {arm!r} names no deployment"
            raise Invalid(msg)
        return tuple(dict.fromkeys(entry.id for entry in found if entry.id is not None))
    own = catalogue.in_group(group)
    mine = [entry for entry in own if entry.arm == arm]
    if not mine:
        there = listed(sorted({entry.arm for entry in own}))
        msg = (
            f"group {group!r} has no arm {arm!r}, only {there}; "
            "say in arms which deployments it is"
        )
        raise Invalid(msg)
    if any(entry.id is None for entry in mine):
        msg = f"a deployment of group {group!r} has no id; give it a model_info.id"
        raise Invalid(msg)
    return tuple(entry.id for entry in mine if entry.id is not None)
