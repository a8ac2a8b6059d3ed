"""How does a change become routes? One transaction, and the table that is in force."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import stable_unit
from sidecar.core.catalogue import Catalogue, catalogue_of, listed
from sidecar.core.errors import Invalid, NotFound, Unavailable
from sidecar.core.model_list import ModelList, read_model_list
from sidecar.core.publishing import Draft, Sources, draft_table
from sidecar.core.redaction import plain, redacted
from sidecar.core.routing import Group, RoutingTable, Unit, UnitSource, decide
from sidecar.handoff.routes import content_hash
from sidecar.service.stretches import save_step
from sidecar.store import events, experiments, generations, keys, models
from sidecar.store.generations import Generation

_SECTIONS = ("model_list", "router_settings")


class NothingPublished(Unavailable):
    """There are no routes yet, for want of a valid configuration."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is in force after publishing.

    Args:
        is_new: A generation was made; otherwise the table says what it said before.
        marker: Id of the last change that it takes into account (`events.latest`).
        waiting: Shares in basis points that the YAML asks for, by groups that an
            experiment owns.
    """

    table: RoutingTable
    is_new: bool
    marker: int
    warnings: tuple[str, ...]
    waiting: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which arm a unit gets, and from what that follows."""

    group: str
    unit_id: str
    arm: str
    share: float
    bucket: int | None
    buckets: tuple[tuple[int, int], ...]
    deployments: tuple[str, ...]
    experiment_id: str | None
    owner: str
    salt: str
    epoch: int
    stage: int
    generation: int
    why: str


async def publish(
    tx: AsyncConnection, config: Mapping[str, Any] | None, now: datetime
) -> Publication:
    """Make a new generation if what it would say is new.

    Args:
        config: The parsed YAML; None for the one that was published last.

    Raises:
        Invalid: The YAML cannot be routed, or lacks what a running experiment uses.
        NothingPublished: There is no YAML, and nothing was ever published.
    """
    await events.take_turn(tx)
    last = await generations.latest(tx)
    kept = _kept(config) if config is not None else _config_of(last)
    draft = await _draft(tx, read_model_list(kept), last, now)
    for step in draft.steps:
        await save_step(tx, step, now)
    hashed = content_hash(draft.table)
    marker = await events.latest(tx)
    if last is not None and last.table.hash == hashed:
        table = last.table
    else:
        number = 1 if last is None else last.table.generation + 1
        table = replace(draft.table, generation=number, hash=hashed)
    is_new = last is None or table is not last.table
    if is_new:
        await generations.add(tx, table, kept, now)
    return Publication(table, is_new, marker, draft.warnings, draft.waiting)


async def in_force(tx: AsyncConnection) -> Generation:
    """Return the table that was published last.

    Raises:
        NothingPublished: Nothing was published yet.
    """
    found = await generations.latest(tx)
    if found is None:
        msg = "no routes were published yet; see config_error of GET /v1/routes"
        raise NothingPublished(msg)
    return found


async def catalogue(tx: AsyncConnection) -> Catalogue:
    """Return every deployment that the published YAML and the registry know.

    Raises:
        NothingPublished: Nothing was published yet.
    """
    generation = await in_force(tx)
    return catalogue_of(read_model_list(generation.config), await models.every(tx))


async def explain(tx: AsyncConnection, group: str, unit: str) -> Explanation:
    """Say which arm of a group a unit gets, and why.

    Raises:
        NotFound: There is no such group; the message lists those that there are.
        NothingPublished: Nothing was published yet.
    """
    table = (await in_force(tx)).table
    found = table.group(group)
    if found is None:
        msg = f"there is no group {group[:120]!r}; there are {listed(sorted(table.groups))}"
        raise NotFound(msg)
    return _explain(found, stable_unit(unit), table.generation)


def _explain(group: Group, unit_id: str, generation: int) -> Explanation:
    assigned = decide(group, Unit(unit_id, UnitSource.HEADER))
    arm = group.arm(assigned.arm)
    pieces = tuple((p.start, p.end) for p in group.ranges if p.arm == assigned.arm)
    return Explanation(
        group=group.name,
        unit_id=unit_id,
        arm=assigned.arm,
        share=assigned.share_bp / 10_000,
        bucket=assigned.bucket,
        buckets=pieces,
        deployments=() if arm is None else arm.deployments,
        experiment_id=group.experiment_id,
        owner=group.owner,
        salt=group.salt,
        epoch=group.epoch,
        stage=group.stage,
        generation=generation,
        why=_why(group, unit_id, assigned.arm, assigned.bucket),
    )


def _why(group: Group, unit_id: str, arm: str, bucket: int | None) -> str:
    if not group.is_split:
        return f"group {group.name!r} has one arm; nothing is drawn"
    if group.paused:
        return f"experiment {group.experiment_id!r} is paused; {arm!r} serves all"
    ranges = " and ".join(f"{p.start} to {p.end - 1}" for p in group.ranges if p.arm == arm)
    shown = unit_id if len(unit_id) <= 40 else f"{unit_id[:40]}…"  # noqa: PLR2004 (a line)
    return (
        f"SHA-256 of salt {group.salt!r} and unit {shown!r} falls into bucket {bucket}; "
        f"{arm!r} owns {ranges} of 0 to 9999"
    )


async def _draft(
    tx: AsyncConnection, yaml: ModelList, last: Generation | None, now: datetime
) -> Draft:
    """Gather the sources, and make a table of them."""
    before = () if last is None else read_model_list(last.config).entries
    sources = Sources(
        catalogue=catalogue_of(yaml, await models.every(tx)),
        experiments=tuple(await experiments.of_yaml_or_running(tx)),
        keys=await keys.callers(tx, now),
        before={entry.id: entry.model for entry in before if entry.id is not None},
    )
    return draft_table(sources, now=now)


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """Take out of a configuration what routing needs, without the keys in it.

    Raises:
        Invalid: It holds what JSON cannot.
    """
    sections = {name: config[name] for name in _SECTIONS if name in config}
    if "router_settings" in sections:
        settings = sections["router_settings"]
        aliases = settings.get("model_group_alias") if isinstance(settings, Mapping) else None
        sections["router_settings"] = {"model_group_alias": aliases}
    kept = redacted({name: plain(value, name) for name, value in sections.items()})
    if not isinstance(kept, dict):  # a mapping stays one
        msg = "the configuration must be a mapping"
        raise Invalid(msg)
    return kept


def _config_of(last: Generation | None) -> dict[str, Any]:
    if last is None:
        msg = "there is no valid configuration, and nothing was published before"
        raise NothingPublished(msg)
    return dict(last.config)
