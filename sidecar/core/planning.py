"""Which deployments become the arms of an experiment that somebody asks for?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.core.assignment import PRIMARY
from sidecar.core.catalogue import Catalogue, listed
from sidecar.core.errors import Invalid
from sidecar.core.keys import check_project
from sidecar.core.routing import UnitSource

_ARM = re.compile(r"[A-Za-z0-9_-]{1,40}")  # as in the YAML: it stands in headers


@dataclass(frozen=True, slots=True)
class Wish:
    """An experiment as it is asked for.

    Args:
        group: None for the group that the primary serves today.
        shares: Probabilities by arm.
        arms: Names of deployments or models by arm; an arm left out has the deployments
            that the YAML gives it in the group.
    """

    group: str | None
    shares: Mapping[str, float]
    arms: Mapping[str, Sequence[str]]
    unit: UnitSource | None
    hypothesis: str | None
    project_id: str


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
