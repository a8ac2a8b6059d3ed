"""Can a stored call be found again, with its texts or among others?"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from sidecar.core.calls import CallRecord, Outcome, new_call_id
from sidecar.core.errors import Invalid, NotFound
from sidecar.core.recorded import CallFilter
from sidecar.service.calls import MAX_PAGE, get_call, page
from sidecar.service.drain import Draining, drain_segment
from sidecar.store.database import transaction
from tests.integration.conftest import Write
from tests.records import judge_record

Make = Callable[..., CallRecord]


async def test_a_call_is_found_by_any_spelling_of_its_id(
    draining: Draining, write: Write, record: Make
) -> None:
    call = record()
    await drain_segment(draining, write([call]))
    async with transaction(draining.engine) as tx:
        for spelling in (call.call_id, call.call_id.upper(), call.call_id.replace("-", "")):
            assert (await get_call(tx, spelling)).request == call.request


async def test_an_unknown_call_another_projects_call_and_no_call_id_are_told_apart(
    draining: Draining, write: Write, record: Make, now: datetime
) -> None:
    call = record()
    await drain_segment(draining, write([call]))
    async with transaction(draining.engine) as tx:
        assert (await get_call(tx, call.call_id, project_id="default")).project_id == "default"
        with pytest.raises(NotFound, match=call.call_id):
            await get_call(tx, call.call_id, project_id="another")
        with pytest.raises(NotFound):
            await get_call(tx, new_call_id(now))
        with pytest.raises(NotFound):
            await get_call(tx, str(uuid.UUID(int=0)))
        with pytest.raises(Invalid, match="no call id"):
            await get_call(tx, "judge")


async def test_a_call_whose_contents_are_gone_says_so(
    draining: Draining, write: Write, record: Make
) -> None:
    call = replace(record(), request={"system": "Judge the post with care. " * 40})
    await drain_segment(draining, write([call]))
    async with transaction(draining.engine) as tx:
        await tx.execute(text("DELETE FROM contents"))
        with pytest.raises(NotFound, match="part of the request is gone"):
            await get_call(tx, call.call_id)


async def test_pages_give_every_call_once_newest_first_over_months(
    draining: Draining, write: Write, now: datetime
) -> None:
    calls = [judge_record(now - timedelta(days=9 * n)) for n in range(11)]
    await drain_segment(draining, write(list(reversed(calls))))
    found, after = [], None
    async with transaction(draining.engine) as tx:
        while True:
            part = await page(tx, CallFilter(), after=after, limit=4)
            found += [item.call_id for item in part.items]
            after = part.next
            if after is None:
                break
    assert found == [call.call_id for call in calls]


async def test_a_call_that_arrives_meanwhile_does_not_shift_the_pages(
    draining: Draining, write: Write, now: datetime
) -> None:
    old = [judge_record(now - timedelta(minutes=n)) for n in range(4)]
    await drain_segment(draining, write(old))
    async with transaction(draining.engine) as tx:
        first = await page(tx, CallFilter(), limit=2)
    await drain_segment(draining, write([judge_record(now + timedelta(minutes=1))]))
    async with transaction(draining.engine) as tx:
        second = await page(tx, CallFilter(), after=first.next, limit=2)
    assert [item.call_id for item in second.items] == [call.call_id for call in old[2:]]
    assert second.next is None


@pytest.mark.parametrize(
    ("only", "count"),
    [
        pytest.param(CallFilter(), 5, id="all"),
        pytest.param(CallFilter(project_id="mine"), 1, id="project"),
        pytest.param(CallFilter(experiment_id="exp-1"), 1, id="experiment"),
        pytest.param(CallFilter(group="draft"), 1, id="group"),
        pytest.param(CallFilter(arm="canary"), 2, id="arm"),
        pytest.param(CallFilter(outcome="failed"), 1, id="outcome"),
        pytest.param(CallFilter(arm="canary", outcome="failed"), 1, id="two at once"),
        pytest.param(CallFilter(project_id="nobody's"), 0, id="none"),
    ],
)
async def test_a_list_has_only_what_was_asked_for(
    draining: Draining, write: Write, record: Make, only: CallFilter, count: int
) -> None:
    calls = [
        replace(record(), project_id="mine"),
        replace(record(), experiment_id="exp-1"),
        replace(record(), group="draft"),
        replace(record(), assigned_arm="canary"),
        replace(record(), assigned_arm="canary", outcome=Outcome.FAILED),
    ]
    await drain_segment(draining, write(calls))
    async with transaction(draining.engine) as tx:
        assert len((await page(tx, only)).items) == count


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"limit": 0}, id="no calls"),
        pytest.param({"limit": MAX_PAGE + 1}, id="too many calls"),
        pytest.param({"after": "tomorrow"}, id="no cursor"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    draining: Draining, asked: dict[str, object]
) -> None:
    async with transaction(draining.engine) as tx:
        with pytest.raises(Invalid):
            await page(tx, CallFilter(), **asked)  # type: ignore[arg-type]
