"""What was seen of an experiment at each look, and what was decided? Both append-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.measured import decisions, looks
from sidecar.store.paging import newest
from sidecar.store.tables import generations

_LOCK_KEY = 0x510_0005  # of the advisory lock under which looks are taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A step that was taken, or advised, and what it rests on.

    Args:
        id: 0 before it is stored.
        look: Number of the look within the epoch; 0 for a person's own decision.
        state: `promote`, `rollback`, `advance`, `hold`, `inconclusive`, `invalid_srm`.
        action: What was done; empty when it was advice.
        numbers: The look's, as they were.
        share_bp: In force before it, to undo it by.
        generation: The first published with it; None before that, or when it changed no
            route.
        undone_by: The decision that took it back.
    """

    id: int = 0
    experiment_id: str
    epoch: int
    look: int
    at: datetime
    state: str
    action: Mapping[str, Any]
    reasons: Sequence[str]
    numbers: Mapping[str, Any]
    plan_hash: str
    share_bp: Mapping[str, int]
    generation: int | None = None
    actor: str
    undone_by: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an experiment saw.

    Args:
        look: Counts from 1 within the epoch.
        numbers: Estimate, interval, e-values, shares.
    """

    look: int
    at: datetime
    numbers: Mapping[str, Any]


async def take_turn(tx: AsyncConnection) -> bool:
    """Become the one controller until the transaction ends; False when another is."""
    found = await tx.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    return bool(found.scalar_one())


async def add(tx: AsyncConnection, decision: Decision) -> int:
    """Store a decision; returns its id."""
    values = {name: getattr(decision, name) for name in Decision.__slots__ if name != "id"}
    values |= {name: dict(values[name]) for name in ("action", "numbers", "share_bp")}
    values["reasons"] = list(decision.reasons)
    done = await tx.execute(insert(decisions).values(**values).returning(decisions.c.id))
    return int(done.scalar_one())


async def mark_undone(tx: AsyncConnection, decision_id: int, by: int) -> None:
    """Note which decision took another back."""
    statement = update(decisions).where(decisions.c.id == decision_id)
    await tx.execute(statement.values(undone_by=by))


async def fill_generations(tx: AsyncConnection) -> None:
    """Note the first generation published since a decision, where none is noted yet."""
    # By number, not by time: the clocks of two processes need not agree.
    present = decisions.c.numbers["generation"].as_integer()
    first = (
        select(func.min(generations.c.number))
        .where(generations.c.number > func.coalesce(present, 0))
        .scalar_subquery()
    )
    statement = (
        update(decisions)
        .where(decisions.c.generation.is_(None), decisions.c.action != {}, first.is_not(None))
        .values(generation=first)
    )
    await tx.execute(statement)


async def page(
    tx: AsyncConnection, experiment_id: str, *, before: int | None, limit: int
) -> list[Decision]:
    """List an experiment's decisions, newest first.

    Args:
        before: Only what is older than this decision.
    """
    wanted = decisions.c.experiment_id == experiment_id
    rows = await newest(tx, decisions.c.id, wanted, before=before, limit=limit)
    return [Decision(**row) for row in rows]


async def in_force(tx: AsyncConnection, experiment_id: str, epoch: int) -> list[Decision]:
    """List the decisions of an epoch that were not undone, newest first."""
    statement = (
        select(decisions)
        .where(
            decisions.c.experiment_id == experiment_id,
            decisions.c.epoch == epoch,
            decisions.c.undone_by.is_(None),
        )
        .order_by(decisions.c.id.desc())
    )
    return [Decision(**row) for row in (await tx.execute(statement)).mappings()]


async def last_look(tx: AsyncConnection, experiment_id: str, epoch: int) -> Look | None:
    """Fetch the newest stored look of an epoch."""
    statement = (
        select(looks.c.look, looks.c.at, looks.c.numbers)
        .where(looks.c.experiment_id == experiment_id, looks.c.epoch == epoch)
        .order_by(looks.c.look.desc())
        .limit(1)
    )
    found = (await tx.execute(statement)).mappings().one_or_none()
    return None if found is None else Look(**found)


async def add_look(tx: AsyncConnection, experiment_id: str, epoch: int, look: Look) -> None:
    """Keep what a look saw."""
    await tx.execute(
        insert(looks).values(
            experiment_id=experiment_id,
            epoch=epoch,
            look=look.look,
            at=look.at,
            numbers=dict(look.numbers),
        )
    )


async def history(
    tx: AsyncConnection, experiment_id: str, epoch: int, *, limit: int
) -> list[Look]:
    """List an epoch's looks in their order, evenly thinned to at most `limit`."""
    numbered = (
        select(
            looks.c.look,
            looks.c.at,
            looks.c.numbers,
            func.row_number().over(order_by=looks.c.look.desc()).label("back"),
            func.count().over().label("found"),
        )
        .where(looks.c.experiment_id == experiment_id, looks.c.epoch == epoch)
        .subquery()
    )
    # Counted from the newest, so that the newest is always there.
    step = (numbered.c.found + (limit - 1)) // limit
    statement = (
        select(numbered.c.look, numbered.c.at, numbered.c.numbers)
        .where((numbered.c.back - 1) % step == 0)
        .order_by(numbered.c.look)
    )
    return [Look(**row) for row in (await tx.execute(statement)).mappings()]
