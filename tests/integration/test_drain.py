"""Does every journalled line become a row, an enrichment or a line put aside, exactly once?"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from sidecar.core.calls import (
    Answer,
    Attempt,
    CallRecord,
    Outcome,
    started_at_of,
)
from sidecar.core.errors import Unavailable
from sidecar.handoff.journal import Journal
from sidecar.service.calls import get_call
from sidecar.service.drain import Draining, KnownContents, Position, drain_segment
from sidecar.service.volume import Volume
from sidecar.store.database import create_engine, transaction
from tests.integration.conftest import Write
from tests.records import judge_record

Make = Callable[..., CallRecord]
Rows = Callable[[str], Awaitable[list[Any]]]
Counts = Callable[[], Awaitable[dict[str, int]]]

COUNT = "SELECT count(*), count(DISTINCT call_id) FROM calls"


async def test_a_record_becomes_a_row_of_equal_values(
    draining: Draining, write: Write, record: Make
) -> None:
    call = replace(record(), attempts=(Attempt("judge-b", "RateLimitError", 429),))
    await drain_segment(draining, write([call]))
    async with transaction(draining.engine) as tx:
        found = await get_call(tx, call.call_id)
    line = call.to_line()
    same = set(line) - {"form", "kind", "labels", "started_at", "answer", "attempts"}
    assert {name: getattr(found, name) for name in same} == {name: line[name] for name in same}
    assert found.started_at == started_at_of(call.call_id)
    assert found.attempts == [
        {"deployment": "judge-b", "error_class": "RateLimitError", "status": 429}
    ]
    assert found.answer == orjson.loads(orjson.dumps(line["answer"]))
    assert (found.verdict_label, found.verdict_confidence) == ("relevant", 0.9)
    assert (found.verdict_reasoning, found.verdict_failure) == ("It asks for advice.", None)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        pytest.param({}, ("relevant", None), id="a label"),
        pytest.param({"task": "draft"}, (None, None), id="no judge"),
        pytest.param(
            {"answer": Answer(text="no idea")}, (None, "invalid_output"), id="no JSON"
        ),
        pytest.param({"answer": Answer()}, (None, "invalid_output"), id="no text"),
        pytest.param({"labels": ("yes", "no")}, (None, "invalid_output"), id="another label"),
        pytest.param({"answer": Answer(refusal="I will not")}, (None, "refused"), id="refusal"),
        pytest.param({"finish_reason": "content_filter"}, (None, "refused"), id="filtered"),
        pytest.param(
            {"outcome": Outcome.FAILED, "status": 408, "error_class": "Timeout"},
            (None, "timeout"),
            id="timed out",
        ),
        pytest.param(
            {"outcome": Outcome.FAILED, "status": 500, "error_class": "InternalServerError"},
            (None, "provider_error"),
            id="failed",
        ),
        pytest.param(
            {"outcome": Outcome.INCOMPLETE, "status": None},
            (None, "provider_error"),
            id="broke off",
        ),
        pytest.param(
            {"task": "other", "outcome": Outcome.FAILED, "status": 500},
            (None, None),
            id="failed, and no judge",
        ),
    ],
)
async def test_the_verdict_is_read_while_draining(
    draining: Draining,
    write: Write,
    record: Make,
    rows: Rows,
    change: dict[str, Any],
    verdict: tuple[str | None, str | None],
) -> None:
    await drain_segment(draining, write([replace(record(), **change)]))
    assert await rows("SELECT verdict_label, verdict_failure FROM calls") == [verdict]


async def test_a_finished_segment_is_deleted_and_forgotten(
    draining: Draining, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    segment = write([record() for _ in range(5)])
    size = segment.stat().st_size
    assert await drain_segment(draining, segment) == Position(size, is_gone=True)
    assert not segment.exists()
    assert await rows("SELECT * FROM journal_segments") == []
    assert await rows(COUNT) == [(5, 5)]
    assert await counts() == {"lines": 5, "stored": 5}


async def test_a_living_writers_segment_is_drained_to_its_present_end_and_kept(
    draining: Draining, volume: Volume, record: Make, rows: Rows
) -> None:
    journal = Journal(volume.journal, writer="alive")
    journal.append(orjson.dumps(record().to_line()))
    (segment,) = volume.journal.iterdir()
    first = await drain_segment(draining, segment)
    assert first == Position(segment.stat().st_size)
    journal.append(orjson.dumps(record().to_line()))
    second = await drain_segment(draining, segment, first.drained_bytes)
    assert second == Position(segment.stat().st_size)
    assert await rows(COUNT) == [(2, 2)]
    journal.close()
    assert (await drain_segment(draining, segment, second.drained_bytes)).is_gone


async def test_a_wrong_guess_of_the_place_reached_changes_nothing(
    draining: Draining, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    segment = write([record() for _ in range(3)], seal=False)
    await drain_segment(draining, segment)
    for guess in (0, 7, 10**9):
        assert (await drain_segment(draining, segment, guess)).drained_bytes in (
            segment.stat().st_size,
            0,  # a guess beyond the end: nothing is read
        )
    assert await rows(COUNT) == [(3, 3)]
    assert await counts() == {"lines": 3, "stored": 3}


async def test_many_chunks_make_one_segment(
    draining: Draining, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    segment = write([record(f"u-{n}") for n in range(50)])
    await drain_segment(replace(draining, chunk_bytes=3_000), segment)
    assert await rows(COUNT) == [(50, 50)]
    assert await counts() == {"lines": 50, "stored": 50}


async def test_a_call_that_comes_twice_is_stored_once(
    draining: Draining, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    calls = [record(f"u-{n}") for n in range(4)]
    await drain_segment(draining, write([*calls, calls[0]]))
    await drain_segment(draining, write([record(), *calls, calls[1]]))
    assert await rows(COUNT) == [(5, 5)]
    assert await counts() == {"lines": 11, "stored": 5, "repeated": 6}


async def test_a_segment_that_another_transaction_has_is_left_alone(
    draining: Draining, write: Write, record: Make, rows: Rows
) -> None:
    segment = write([record()], seal=False)
    await drain_segment(draining, segment)
    with segment.open("ab") as file:
        file.write(orjson.dumps(record().to_line()) + b"\n")
    async with transaction(draining.engine) as tx:
        await tx.execute(text("SELECT * FROM journal_segments FOR UPDATE"))
        await drain_segment(draining, segment)
        assert await rows(COUNT) == [(1, 1)]
    await drain_segment(draining, segment)
    assert await rows(COUNT) == [(2, 2)]


async def test_two_drains_of_one_volume_store_and_count_every_call_once(
    database_url: str, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    segments = [write([record(f"u-{n}") for n in range(120)]) for _ in range(4)]
    engines = [create_engine(database_url) for _ in range(2)]

    async def drain_all(number: int) -> None:
        draining = Draining(engines[number], volume, lambda: datetime.now(UTC))
        small = replace(draining, chunk_bytes=8_000)
        while any(segment.exists() for segment in segments):
            for segment in segments:
                await drain_segment(small, segment)

    await asyncio.gather(drain_all(0), drain_all(1))
    assert await rows(COUNT) == [(480, 480)]
    assert await counts() == {"lines": 480, "stored": 480}
    assert await rows("SELECT * FROM journal_segments") == []
    for engine in engines:
        await engine.dispose()


async def test_calls_of_any_month_find_room(
    draining: Draining, write: Write, now: datetime, rows: Rows
) -> None:
    moments = [now - timedelta(days=days) for days in (0, 45, 400, 3_000)]
    calls = [judge_record(moment) for moment in moments]
    await drain_segment(draining, write(calls))
    assert await rows(COUNT) == [(4, 4)]
    found = await rows("SELECT started_at FROM calls ORDER BY started_at")
    assert [moment for (moment,) in found] == sorted(started_at_of(c.call_id) for c in calls)


async def test_a_system_prompt_is_stored_once_for_all_calls(
    draining: Draining, write: Write, record: Make, rows: Rows
) -> None:
    system = {"role": "system", "content": "Judge the post with care. " * 40}
    calls = [
        replace(record(), request={"messages": [system, {"role": "user", "content": str(n)}]})
        for n in range(20)
    ]
    await drain_segment(draining, write(calls[:10]))
    await drain_segment(replace(draining, known=KnownContents()), write(calls[10:]))
    assert await rows("SELECT count(*), max(octet_length(body)) FROM contents") == [(1, 1042)]
    async with transaction(draining.engine) as tx:
        for call in calls:
            assert (await get_call(tx, call.call_id)).request == call.request


async def test_contents_of_a_lost_transaction_are_not_taken_for_stored(
    draining: Draining, volume: Volume, write: Write, record: Make
) -> None:
    call = replace(record(), request={"system": "Judge the post with care. " * 40})
    volume.journal.mkdir(parents=True)
    volume.quarantine.write_text("in the way")
    segment = write([call, b"no line of ours"])
    with pytest.raises(Unavailable):
        await drain_segment(draining, segment)
    volume.quarantine.unlink()
    await drain_segment(draining, segment)
    async with transaction(draining.engine) as tx:
        assert (await get_call(tx, call.call_id)).request == call.request


def test_the_memory_of_contents_is_bounded_and_keeps_the_latest() -> None:
    known = KnownContents(limit=2)
    parts = {name: name for name in (b"a", b"b", b"c")}
    known.learn({b"a": b"", b"b": b""})
    known.learn({b"a": b""})
    known.learn({b"c": b""})
    assert known.unknown(parts) == {b"b": b"b"}
