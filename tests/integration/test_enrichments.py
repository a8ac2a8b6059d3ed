"""Does what is learned late reach its call, whenever it comes?"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sidecar.core.calls import (
    CallRecord,
    Enrichment,
    new_call_id,
    started_at_of,
)
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.enrichments import settle_late
from sidecar.store import enrichments
from sidecar.store.database import transaction
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]
Rows = Callable[[str], Awaitable[list[Any]]]
Counts = Callable[[], Awaitable[dict[str, int]]]

COUNT = "SELECT count(*), count(DISTINCT call_id) FROM calls"


UNPRICED = "SELECT cost_usd, prompt_tokens, completion_tokens, cached_tokens FROM calls"


async def test_an_enrichment_fills_what_is_null_and_nothing_else(
    draining: Draining, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    call = replace(record(), cost_usd=None, prompt_tokens=None, completion_tokens=7)
    late = Enrichment(call.call_id, cost_usd=0.5, prompt_tokens=11, completion_tokens=99)
    await drain_segment(draining, write([call, late]))
    assert await rows(UNPRICED) == [(0.5, 11, 7, 0)]
    assert await counts() == {"lines": 2, "stored": 1, "enrichments": 1}


@pytest.mark.parametrize("order", ["before", "after", "with it once more", "in two parts"])
async def test_an_enrichment_may_come_whenever_it_likes(
    draining: Draining, write: Write, record: Make, rows: Rows, order: str
) -> None:
    call = replace(record(), cost_usd=None, prompt_tokens=None)
    cost = Enrichment(call.call_id, cost_usd=0.5)
    both = Enrichment(call.call_id, cost_usd=0.5, prompt_tokens=11)
    segments: dict[str, list[list[CallRecord | Enrichment]]] = {
        "before": [[both], [call]],
        "after": [[call], [both]],
        "with it once more": [[call], [call, both]],
        "in two parts": [[cost], [both], [call], [both]],
    }
    for lines in segments[order]:
        await drain_segment(draining, write(lines))
    assert await rows(UNPRICED) == [(0.5, 11, 40, 0)]
    assert await rows("SELECT * FROM pending_enrichments") == []


async def test_an_enrichment_that_missed_its_call_is_applied_later(
    draining: Draining, write: Write, record: Make, rows: Rows, now: datetime
) -> None:
    call = replace(record(), cost_usd=None)
    await drain_segment(draining, write([call]))
    extra = (started_at_of(call.call_id), None, None, None, 0.5)
    async with transaction(draining.engine) as tx:  # as a drain that could not see the call
        await enrichments.keep(tx, {call.call_id: extra})
    await settle_late(draining.engine, now)
    assert await rows(UNPRICED) == [(0.5, 320, 40, 0)]


async def test_an_enrichment_whose_call_never_comes_is_given_up_and_counted(
    draining: Draining, write: Write, rows: Rows, counts: Counts, now: datetime
) -> None:
    old = new_call_id(now - timedelta(days=8))
    young = new_call_id(now - timedelta(days=6))
    await drain_segment(
        draining, write([Enrichment(old, cost_usd=1.0), Enrichment(young, cost_usd=1.0)])
    )
    await settle_late(draining.engine, now)
    assert await rows("SELECT call_id FROM pending_enrichments") == [(young,)]
    assert (await counts())["enrichments_forgotten"] == 1
