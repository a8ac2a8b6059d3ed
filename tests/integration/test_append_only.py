"""Can what was planned, seen and decided be rewritten? PostgreSQL itself refuses."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import transaction


@pytest.mark.parametrize("table", ["looks", "epochs"])
async def test_plans_and_looks_can_only_be_added(engine: AsyncEngine, table: str) -> None:
    for statement in ("DELETE FROM {}", "UPDATE {} SET epoch = 2", "TRUNCATE {}"):
        async with engine.connect() as tx:
            with pytest.raises(IntegrityError, match="only be added"):
                await tx.execute(text(statement.format(table)))


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ("UPDATE decisions SET generation = 5", False),
        ("UPDATE decisions SET generation = 5, undone_by = 9", False),
        ("UPDATE decisions SET state = 'promote'", True),
        ("UPDATE decisions SET generation = 5, actor = 'me'", True),
        ("DELETE FROM decisions", True),
        ("TRUNCATE decisions", True),
    ],
)
async def test_of_a_decision_only_what_it_led_to_is_filled_in_later(
    engine: AsyncEngine, change: str, is_refused: bool
) -> None:
    async with transaction(engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO decisions (experiment_id, epoch, look, at, state, action, "
                "reasons, numbers, plan_hash, share_bp, actor) VALUES ('exp-1', 1, 1, now(), "
                "'hold', '{}', '{}', '{}', 'hash', '{}', 'controller')"
            )
        )
    if not is_refused:
        async with transaction(engine) as tx:
            await tx.execute(text(change))
    async with engine.connect() as tx:  # once filled in, it is as fixed as the rest
        again = change.replace("5", "6")
        with pytest.raises(IntegrityError, match="only be added"):
            await tx.execute(text(again))
