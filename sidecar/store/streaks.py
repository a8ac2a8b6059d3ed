"""What are an experiment's newest calls? Read off the index of its cells, never by a scan."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import Outcome

_NEWEST = text(
    """
    SELECT max(latest.call_id)
    FROM unnest(CAST(:stages AS int[]), CAST(:arms AS text[])) AS cell (stage, arm)
    CROSS JOIN LATERAL (
        SELECT call_id FROM calls
        WHERE experiment_id = :experiment AND epoch = :epoch
            AND stage = cell.stage AND assigned_arm = cell.arm
        ORDER BY call_id DESC LIMIT 1
    ) AS latest
    """
)
_STREAK = text(
    """
    SELECT outcome <> :served OR verdict_failure IS NOT NULL
    FROM calls
    WHERE experiment_id = :experiment AND epoch = :epoch AND stage = :stage
        AND assigned_arm = :arm
    ORDER BY call_id DESC LIMIT :most
    """
)
_NEWS = text(
    """
    SELECT experiments.id, experiments.version, experiments.epoch, (
        SELECT sum(value) FROM totals
        WHERE totals.experiment_id = experiments.id AND totals.epoch = experiments.epoch
            AND (name IN ('calls', 'labelled') OR name LIKE 'value:%\\:n')
    )
    FROM experiments WHERE status = 'active' ORDER BY experiments.id
    """
)


@dataclass(frozen=True, slots=True)
class Place:
    """An experiment's epoch."""

    experiment_id: str
    epoch: int


async def newest_call(
    tx: AsyncConnection, place: Place, cells: Collection[tuple[int, str]]
) -> str | None:
    """Name the newest stored call of some cells; None when they have none.

    Args:
        cells: Stages and arms.
    """
    values = {
        "experiment": place.experiment_id,
        "epoch": place.epoch,
        "stages": [stage for stage, _ in cells],
        "arms": [arm for _, arm in cells],
    }
    found = (await tx.execute(_NEWEST, values)).scalar_one()
    return None if found is None else str(found)


async def failures_in_a_row(
    tx: AsyncConnection, place: Place, cell: tuple[int, str], *, most: int
) -> int:
    """Count the newest calls of a cell back to the last good one, at most so many."""
    values = {
        "experiment": place.experiment_id,
        "epoch": place.epoch,
        "stage": cell[0],
        "arm": cell[1],
        "served": Outcome.SERVED.value,
        "most": most,
    }
    failed = (await tx.execute(_STREAK, values)).scalars().all()
    return next((n for n, is_failure in enumerate(failed) if not is_failure), len(failed))


async def news(tx: AsyncConnection) -> dict[str, str]:
    """Name every active experiment, with a stamp that changes with what is known of it."""
    rows = await tx.execute(_NEWS)
    return {row[0]: f"{row[1]}.{row[2]}.{row[3] or 0}" for row in rows}
