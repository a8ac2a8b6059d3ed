"""How do the totals stay exact? They change with the rows, in the same transaction."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.experiments import epoch_of
from sidecar.core.facts import Facts
from sidecar.core.tallies import Epoch, joined, moved, moved_values, shared
from sidecar.core.tallies import tally as tallied
from sidecar.store import experiments, facts, recount, totals
from sidecar.store.recount import Difference


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether an epoch's totals are what its rows add up to.

    Args:
        differences: As they were found; empty when all is well.
        repaired: Whether the totals were replaced.
    """

    experiment_id: str
    epoch: int
    differences: Sequence[Difference]
    repaired: bool = False


async def apply(
    tx: AsyncConnection,
    before: Sequence[Facts],
    after: Sequence[Facts],
    *,
    known_slow_ms: Mapping[Epoch, float | None] = MappingProxyType({}),
) -> None:
    """Change the totals as some calls have changed.

    The last thing in a transaction: from here on, others that change the same experiments
    wait until it ends.

    Args:
        before: What of the calls is counted already; new calls are absent.
        after: What they are now. A call without an experiment must be left out of both.
        known_slow_ms: What counts as slow, by epoch, where the caller knows the plan.
    """
    if not after and not before:
        return
    concerned = {call[:2] for part in (before, after) for call in part}
    limits = dict(known_slow_ms)
    if unknown := concerned - limits.keys():
        limits |= await totals.slow_limits(tx, unknown)
    tally = tallied(before, after, limits)
    await totals.lock(tx, {experiment_id for experiment_id, _ in concerned})
    was = await totals.add_units(tx, tally.units)
    values = await totals.add_values(tx, tally.values)
    changes = joined(
        [
            *tally.changes.items(),
            *moved(tally.units, was).items(),
            *moved_values(tally.values, values),
            *shared(tally.units, was),
        ]
    )
    await totals.add(tx, changes)


async def watch(tx: AsyncConnection, call_ids: Collection[str]) -> dict[str, Facts]:
    """Note what some stored calls are, and let nobody else change them.

    Raises:
        Invalid: One is no call id.
    """
    if not call_ids:
        return {}
    await facts.lock(tx, call_ids)
    return await facts.of_calls(tx, call_ids)


async def changed(
    tx: AsyncConnection, watched: Mapping[str, Facts]
) -> tuple[list[Facts], list[Facts]]:
    """Say which of the watched calls have changed: as they were, and as they are now."""
    if not watched:
        return [], []
    now = await facts.of_calls(tx, watched)
    moved_ = [call_id for call_id in now if now[call_id] != watched[call_id]]
    return [watched[call_id] for call_id in moved_], [now[call_id] for call_id in moved_]


@asynccontextmanager
async def recounting(tx: AsyncConnection, call_ids: Collection[str]) -> AsyncIterator[None]:
    """Let a block change stored calls, or what is said of them; the totals follow.

    Raises:
        Invalid: One is no call id.
    """
    watched = await watch(tx, call_ids)
    yield
    await apply(tx, *await changed(tx, watched))


async def verify(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    epoch: int | None = None,
    project_id: str | None = None,
) -> Verified:
    """Compare the totals of an epoch with its rows.

    Args:
        epoch: None for the present one.
        project_id: Who asks sees only this project's experiments; None for all.

    Raises:
        NotFound: There is no such experiment, or it has no such epoch.
    """
    epoch = await _epoch(tx, experiment_id, epoch, project_id)
    found = await recount.differences(tx, experiment_id, epoch)
    return Verified(experiment_id, epoch, found)


async def repair(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    epoch: int | None = None,
    project_id: str | None = None,
) -> Verified:
    """Replace the totals of an epoch by what its rows add up to, where they differ.

    Raises:
        NotFound: There is no such experiment, or it has no such epoch.
    """
    epoch = await _epoch(tx, experiment_id, epoch, project_id)
    await totals.lock(tx, [experiment_id])
    found = await recount.differences(tx, experiment_id, epoch)
    if found:
        await recount.repair(tx, experiment_id, epoch)
    return Verified(experiment_id, epoch, found, repaired=bool(found))


async def _epoch(
    tx: AsyncConnection, experiment_id: str, epoch: int | None, project_id: str | None
) -> int:
    experiment = (await experiments.get(tx, experiment_id, project_id=project_id)).experiment
    return epoch_of(experiment, epoch)
