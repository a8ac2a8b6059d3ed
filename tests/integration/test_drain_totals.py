"""Do drained calls change the totals exactly, with what is learned of them late?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import CallRecord, Enrichment, Outcome
from sidecar.service.counting import Designs
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.enrichments import settle_late
from sidecar.store import recount
from sidecar.store import totals as store_totals
from sidecar.store.database import transaction
from tests.integration.conftest import Write

EXPERIMENT = "yaml-judge"


async def differences(engine: AsyncEngine) -> list[recount.Difference]:
    async with transaction(engine) as tx:
        return await recount.differences(tx, EXPERIMENT, 1)


async def count(engine: AsyncEngine, name: str) -> int:
    async with transaction(engine) as tx:
        cells = await store_totals.of_epoch(tx, EXPERIMENT, 1)
    return sum(cell.count(name) for cell in cells.values())


async def give_plan(engine: AsyncEngine) -> None:
    """Have every other call drawn, and half a second be slow."""
    async with transaction(engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO experiments (id, group_name, project_id, owner, salt, arms, "
                "share_bp, status, epoch, stage, version, created_at) VALUES ('yaml-judge', "
                "'judge', 'default', 'yaml', 's', '{}', '{}', 'active', 1, 1, 1, now())"
            )
        )
        await tx.execute(
            text(
                "INSERT INTO epochs (experiment_id, epoch, plan, plan_hash, started_at, "
                "started_by) VALUES ('yaml-judge', 1, jsonb_build_object('slow_ms', 500, "
                "'audit', jsonb_build_object('rate', 0.5)), 'h', now(), 'tests')"
            )
        )


def varied(record: Callable[..., CallRecord]) -> Sequence[CallRecord]:
    """Sixty calls: some fail, some are slow, some units come again."""
    outcomes = (Outcome.SERVED, Outcome.SERVED, Outcome.FAILED_OVER)
    return [
        replace(
            record(f"u-{number % 23}", f"post {number}"),
            outcome=outcomes[number % 3],
            latency_ms=250.0 + 7 * number,
            cost_usd=None if number % 5 else 0.001,
            assigned_arm="canary" if number % 4 == 0 else "primary",
            unit_source="call" if number % 7 == 0 else "header",
        )
        for number in range(60)
    ]


async def test_a_drained_segment_leaves_the_totals_that_a_recount_finds(
    engine: AsyncEngine, draining: Draining, write: Write, record: Callable[..., CallRecord]
) -> None:
    await give_plan(engine)
    await drain_segment(replace(draining, chunk_bytes=8_000), write(varied(record)))
    assert await differences(engine) == []
    assert await count(engine, "calls") == 60
    assert await count(engine, "slow") > 0
    assert await count(engine, "audit_n") == await count(engine, "ok") == 40
    assert 0 < await count(engine, "drawn") < 40


async def test_calls_without_a_plan_are_counted_and_never_drawn(
    engine: AsyncEngine, draining: Draining, write: Write, record: Callable[..., CallRecord]
) -> None:
    await drain_segment(draining, write(varied(record)))
    assert await differences(engine) == []
    assert await count(engine, "calls") == 60
    assert await count(engine, "drawn") == await count(engine, "audit_n") == 0


async def test_calls_that_come_twice_count_once(
    engine: AsyncEngine, draining: Draining, write: Write, record: Callable[..., CallRecord]
) -> None:
    calls = varied(record)
    await drain_segment(draining, write(calls[:40]))
    await drain_segment(draining, write([*calls[20:], calls[20]]))
    assert await count(engine, "calls") == 60
    assert await differences(engine) == []


async def test_a_cost_changes_the_totals_whenever_it_comes(
    engine: AsyncEngine,
    draining: Draining,
    write: Write,
    record: Callable[..., CallRecord],
    now: datetime,
) -> None:
    early, same, late, stray = (replace(record(), cost_usd=None) for _ in range(4))
    cost: dict[str, Any] = {"cost_usd": 0.5, "cached_tokens": 3}
    known = [Enrichment(call.call_id, **cost) for call in (early, same, late, stray)]
    await drain_segment(draining, write([known[0]]))  # before its call
    await drain_segment(draining, write([early, same, late, known[1]]))  # with it
    await drain_segment(draining, write([known[2], known[2], known[3]]))  # after it, twice
    assert await count(engine, "cost_known") == 3
    await drain_segment(draining, write([stray]))
    await settle_late(engine, now + timedelta(minutes=1))
    assert await count(engine, "cost_known") == 4
    assert await count(engine, "cost") == 2_000_000_000
    assert await differences(engine) == []


async def test_a_drain_that_meets_an_epoch_by_a_late_cost_counts_its_slow_calls_rightly(
    engine: AsyncEngine, draining: Draining, write: Write, record: Callable[..., CallRecord]
) -> None:
    await give_plan(engine)
    slow = replace(record(), cost_usd=None, latency_ms=501.0)
    await drain_segment(draining, write([slow]))
    assert await count(engine, "slow") == 1
    another = replace(draining, designs=Designs())
    await drain_segment(another, write([Enrichment(slow.call_id, cost_usd=0.5)]))
    assert (await count(engine, "slow"), await count(engine, "cost_known")) == (1, 1)
    assert await differences(engine) == []


async def test_a_row_that_postgresql_refuses_counts_nowhere(
    engine: AsyncEngine, draining: Draining, write: Write, record: Callable[..., CallRecord]
) -> None:
    good, refused = record("u-1"), replace(record("u-2"), share_bp=10**6)
    odd = replace(record("u-\x00"), unit_id="u-\x00")  # stored with a replacement
    await drain_segment(draining, write([good, refused, odd]))
    assert await count(engine, "calls") == 2
    assert await differences(engine) == []
