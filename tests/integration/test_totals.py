"""Are the totals what the rows add up to, whatever came in which order?"""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.auditing import draw
from sidecar.core.errors import NotFound
from sidecar.core.feedback import Source
from sidecar.service import feedback, totals
from sidecar.service.feedback import Said
from sidecar.store import recount
from sidecar.store import totals as store_totals
from sidecar.store.database import transaction
from sidecar.store.events import By
from tests.measured import Made, store

BY = By("tests", datetime(2026, 1, 1, tzinfo=UTC))
LABELS = ("relevant", "irrelevant", "maybe")
_numbers = itertools.count(1)

SOURCES = st.sampled_from(["header", "user", "call"])
MS = st.sampled_from([0.0, 0.5, 1.0, 312.25, 900.0, 900.1, 60_000.0])


@st.composite
def made(draw: st.DrawFn) -> dict[str, Any]:
    """A call of any kind, but for its id."""
    failure = draw(st.sampled_from([None, None, None, "invalid_output"]))
    is_readable = failure is None
    return {
        "stage": draw(st.integers(1, 2)),
        "arm": draw(st.sampled_from(["primary", "canary", "canary-b"])),
        "unit_id": draw(st.sampled_from(["u-1", "u-2", 'ü "3"'])),
        "unit_source": draw(SOURCES),
        "outcome": draw(st.sampled_from(["served", "served", "served", "failed_over"])),
        "failure": failure,
        "label": draw(st.sampled_from(LABELS)) if is_readable else None,
        "confidence": draw(st.none() | st.floats(0, 1)) if is_readable else None,
        "served_by": draw(st.sampled_from([None, "judge-a", "judge-b"])),
        "prompt_tokens": draw(st.none() | st.integers(0, 10**6)),
        "cost_usd": draw(st.none() | st.floats(0, 20) | st.sampled_from([-1.0, 1e7])),
        "latency_ms": draw(MS | st.floats(0, 1e9)),
        "ttft_ms": draw(st.none() | MS),
        "audit_ppm": draw(st.sampled_from([None, 10_000, 30_000, 56_250, 1_000_000])),
        "is_drawn": draw(st.booleans()),
    }


# What happens to the calls, which are named by their place in the list.
PLACES = st.integers(0, 11)
ENRICH = st.tuples(st.just("cost"), PLACES, st.floats(0, 5))
SAY = st.tuples(
    st.just("say"),
    PLACES,
    st.sampled_from(Source),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(
        [
            {"label": "relevant"},
            {"label": "maybe"},
            {"name": "sent", "value": True},
            {"name": "sent", "value": False},
            {"comment": "odd"},
            {"pair": ("a", "b")},
            {"name": "score", "value": 0.3},
            {"name": "score", "value": -7.25},
        ]
    ),
)


async def plan(engine: AsyncEngine, experiment_id: str, slow_ms: float | None) -> None:
    """Give an experiment a plan that says what is slow."""
    async with transaction(engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO experiments (id, group_name, project_id, owner, salt, arms, "
                "share_bp, status, epoch, stage, version, created_at) VALUES (:id, 'judge', "
                "'default', 'experiment', 's', '{}', '{}', 'draft', 1, 1, 1, now())"
            ),
            {"id": experiment_id},
        )
        await tx.execute(
            text(
                "INSERT INTO epochs (experiment_id, epoch, plan, plan_hash, started_at, "
                "started_by) VALUES (:id, 1, jsonb_build_object('slow_ms', "
                "CAST(:slow_ms AS double precision)), 'hash', now(), 'tests')"
            ),
            {"id": experiment_id, "slow_ms": slow_ms},
        )


async def happen(engine: AsyncEngine, calls: list[Made], event: tuple[Any, ...]) -> None:
    """Let a late cost or a feedback arrive for one of the calls."""
    call = calls[event[1] % len(calls)]
    async with transaction(engine) as tx:
        if event[0] == "cost":
            async with totals.recounting(tx, [call.call_id]):
                await tx.execute(
                    text(
                        "UPDATE calls SET cost_usd = coalesce(cost_usd, :cost) "
                        "WHERE call_id = :id"
                    ),
                    {"cost": event[2], "id": call.call_id},
                )
            return
        _, _, source, reviewer, word = event
        if source is Source.AUDIT and not call.is_drawn:
            source = Source.CORRECTION
        said = Said(call_id=call.call_id, source=source, reviewer=reviewer, **word)
        await feedback.give(tx, said, project_id=None, by=BY)


async def different(engine: AsyncEngine, experiment_id: str) -> list[recount.Difference]:
    async with transaction(engine) as tx:
        return await recount.differences(tx, experiment_id, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    calls=st.lists(made(), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 4), min_size=1),
    events=st.lists(ENRICH | SAY, max_size=8),
    slow_ms=st.none() | st.just(900.0),
)
async def test_any_history_leaves_the_totals_that_a_recount_finds(
    engine: AsyncEngine,
    calls: list[dict[str, Any]],
    cuts: list[int],
    events: list[tuple[Any, ...]],
    slow_ms: float | None,
) -> None:
    experiment_id = f"exp-{next(_numbers)}"
    await plan(engine, experiment_id, slow_ms)
    rest = [Made(experiment_id=experiment_id, **call) for call in calls]
    waiting, stored = list(events), list[Made]()
    for size in itertools.cycle(cuts):
        if not rest:
            break
        batch, rest = rest[:size], rest[size:]
        async with transaction(engine) as tx:
            await store(tx, batch)
        stored += batch
        if waiting:
            await happen(engine, stored, waiting.pop())
    for event in waiting:
        await happen(engine, stored, event)
    assert await different(engine, experiment_id) == []


async def test_drains_at_once_lose_nothing(engine: AsyncEngine) -> None:
    await plan(engine, "exp-1", 400.0)
    batches = [
        [Made(unit_id=f"u-{n % 7}", arm="canary" if n % 3 else "primary") for n in range(40)]
        for _ in range(5)
    ]

    async def drain(batch: list[Made]) -> None:
        async with transaction(engine) as tx:
            await store(tx, batch)

    await asyncio.gather(*map(drain, batches))
    assert await different(engine, "exp-1") == []
    async with transaction(engine) as tx:
        cells = await store_totals.of_epoch(tx, "exp-1", 1)
    assert sum(cell.calls for cell in cells.values()) == 200
    assert cells[1, "canary"].units.multi_arm_units == 7
    assert cells[1, "canary"].units.units_slow == 7


async def test_drains_of_several_experiments_do_not_block_each_other_for_ever(
    engine: AsyncEngine,
) -> None:
    names = ("exp-1", "exp-2", "exp-3")

    async def drain(order: int) -> None:
        chosen = names if order % 2 else names[::-1]
        async with transaction(engine) as tx:
            await store(tx, [Made(experiment_id=name) for name in chosen])

    async with asyncio.timeout(30):
        await asyncio.gather(*map(drain, range(6)))
    for name in names:
        assert await different(engine, name) == []


async def test_a_transaction_that_fails_leaves_the_totals_alone(engine: AsyncEngine) -> None:
    async def fail() -> None:
        async with transaction(engine) as tx:
            await store(tx, [Made()])
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with transaction(engine) as tx:
        assert await store_totals.of_epoch(tx, "exp-1", 1) == {}


async def test_calls_outside_of_experiments_count_nowhere(engine: AsyncEngine) -> None:
    async with transaction(engine) as tx:
        await store(tx, [Made(experiment_id=None)])
        assert (await tx.execute(text("SELECT count(*) FROM totals"))).scalar_one() == 0


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("UPDATE totals SET value = value + 1 WHERE name = 'bad2'", "bad2"),
        ("DELETE FROM totals WHERE name = 'calls'", "calls"),
        ("UPDATE unit_totals SET ll = ll - 1", "(unit rows)"),
        ("UPDATE calls SET cost_usd = 7", "cost"),
    ],
)
async def test_a_difference_is_found_named_and_repaired(
    engine: AsyncEngine, damage: str, name: str
) -> None:
    await plan(engine, "exp-1", None)
    async with transaction(engine) as tx:
        await store(tx, [Made(outcome="failed"), Made(unit_source="call", unit_id="c")])
        await tx.execute(text(damage))
    async with transaction(engine) as tx:
        found = await totals.verify(tx, "exp-1")
        assert name in {difference.name for difference in found.differences}
        assert (await totals.repair(tx, "exp-1")).repaired
    assert await different(engine, "exp-1") == []
    async with transaction(engine) as tx:  # and what comes after builds on the repair
        await store(tx, [Made(), Made(arm="canary")])
    assert await different(engine, "exp-1") == []


async def test_there_is_no_epoch_to_verify_that_has_not_begun(engine: AsyncEngine) -> None:
    await plan(engine, "exp-1", None)
    async with transaction(engine) as tx:
        with pytest.raises(NotFound, match="no epoch 2"):
            await totals.verify(tx, "exp-1", epoch=2)
        with pytest.raises(NotFound):
            await totals.verify(tx, "exp-2")


async def test_a_draw_can_be_derived_in_sql(engine: AsyncEngine) -> None:
    call_id = "019a8f0e-0000-7000-8000-000000000001"
    statement = text(
        r"SELECT ('x00' || substr(encode(sha256(sha256('audit\000exp-1'::bytea) || "
        "CAST(CAST(:call_id AS text) AS bytea)), 'hex'), 1, 14))::bit(64)::bigint % 1000000"
    )
    async with transaction(engine) as tx:
        found = (await tx.execute(statement, {"call_id": call_id})).scalar_one()
    assert draw(call_id, "exp-1") == found == 775752
