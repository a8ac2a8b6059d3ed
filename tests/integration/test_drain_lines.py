"""What becomes of lines, texts and rows that PostgreSQL cannot hold?"""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from sidecar.core.calls import (
    Answer,
    CallRecord,
    Enrichment,
    new_call_id,
)
from sidecar.core.errors import Unavailable
from sidecar.service.calls import get_call
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.volume import Volume
from sidecar.store.database import transaction
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]
Rows = Callable[[str], Awaitable[list[Any]]]
Counts = Callable[[], Awaitable[dict[str, int]]]

COUNT = "SELECT count(*), count(DISTINCT call_id) FROM calls"


def put_aside(volume: Volume) -> list[dict[str, str]]:
    """Every line in the quarantine, with its reason."""
    files = sorted(volume.quarantine.iterdir()) if volume.quarantine.exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def broken(line: dict[str, Any], **changes: Any) -> bytes:
    return orjson.dumps({**line, "call_id": new_call_id(datetime.now(UTC)), **changes})


async def test_lines_that_become_no_row_are_put_aside_whole_and_counted(
    draining: Draining, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    good, now = record(), draining.now()
    line = record().to_line()
    absurd = [new_call_id(now - timedelta(days=5_000)), new_call_id(now + timedelta(days=3))]
    bad = [
        b"{half a line",
        b"\xff\xfe not UTF-8 \x00",
        b"[]",
        b'"' + b"x" * 40 + b'"',
        b"",
        b"[" * 5_000,
        broken(line, form=2),
        broken(line, kind="greeting"),
        broken(line, kind=["call"]),
        broken(line, call_id="550e8400-e29b-41d4-a716-446655440000"),
        broken(line, call_id=7),
        *(broken(line, call_id=call_id) for call_id in absurd),
        broken(line, outcome="splendid"),
        broken(line, request="no object"),
        broken(line, metadata=["no object"]),
        broken(line, answer={"said": "something"}),
        broken(line, answer={"text": 7}),
        broken(line, attempts=[{"deployment": "a"}]),
        broken(line, labels=None),
        broken(line, epoch="one"),
        broken(line, project_id=None),
        broken(line, share_bp=70_000),
        orjson.dumps({key: value for key, value in line.items() if key != "unit_id"}),
        orjson.dumps(Enrichment(good.call_id, prompt_tokens=-1).to_line()),
        orjson.dumps(Enrichment(good.call_id).to_line() | {"cost_usd": "free"}),
    ]
    lines: list[Any] = [*bad, good]
    random.Random(1).shuffle(lines)  # noqa: S311
    position = await drain_segment(draining, write(lines))
    assert await rows("SELECT call_id FROM calls") == [(good.call_id,)]
    assert position.quarantined == len(bad)
    kept = [entry["line"].encode("utf-8", "surrogateescape") for entry in put_aside(volume)]
    assert sorted(kept) == sorted(bad)
    assert await counts() == {"lines": len(lines), "stored": 1, "quarantined": len(bad)}


async def test_the_torn_tail_of_a_dead_writer_is_put_aside(
    draining: Draining, volume: Volume, write: Write, record: Make, counts: Counts
) -> None:
    segment = write([record()])
    with segment.open("ab") as file:
        file.write(b'{"form":1,"kind":"ca')
    assert (await drain_segment(draining, segment)).is_gone
    assert put_aside(volume) == [
        {"reason": "the line ends in the middle", "line": '{"form":1,"kind":"ca'}
    ]
    assert await counts() == {"lines": 2, "stored": 1, "quarantined": 1}


async def test_while_the_quarantine_cannot_be_written_nothing_is_committed(
    draining: Draining, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    segment = write([record(), b"no line of ours"])
    volume.quarantine.write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match="quarantine"):
        await drain_segment(draining, segment)
    assert await rows(COUNT) == [(0, 0)]
    volume.quarantine.unlink()
    assert (await drain_segment(draining, segment)).is_gone
    assert await rows(COUNT) == [(1, 1)]
    assert await counts() == {"lines": 2, "stored": 1, "quarantined": 1}


NUL_AND_SURROGATE = "a\x00b\ud800c"


async def test_what_text_cannot_hold_is_replaced_there_and_exact_in_request_and_answer(
    draining: Draining, write: Write, record: Make, rows: Rows
) -> None:
    reasoning = json.dumps({"label": "maybe", "reasoning": NUL_AND_SURROGATE})
    request = {
        "messages": [{"role": "user", "content": NUL_AND_SURROGATE}],
        "seed": 2**70,
        NUL_AND_SURROGATE: [1e300, -0.0, 12345678901234567890],
    }
    odd = replace(
        record(),
        request=request,
        answer=Answer(text=reasoning),
        metadata={NUL_AND_SURROGATE: NUL_AND_SURROGATE, "big": 2**80},
        provider_model=NUL_AND_SURROGATE,
        cost_usd=float("nan"),
    )
    lines: list[Any] = [json.dumps(odd.to_line()).encode(), record(), record()]
    assert (await drain_segment(draining, write(lines))).quarantined == 0
    async with transaction(draining.engine) as tx:
        found = await get_call(tx, odd.call_id)
    clean = "a\ufffdb\ufffdc"
    assert found.request == request
    assert list(found.request) == list(request)
    assert found.answer["text"] == reasoning
    assert found.verdict_reasoning == found.provider_model == clean
    assert found.metadata == {clean: clean, "big": 2**80}
    assert found.cost_usd is None  # NaN dollars are an unknown price
    assert await rows(COUNT) == [(3, 3)]


async def test_a_row_that_postgresql_refuses_is_put_aside_and_the_others_stored(
    draining: Draining, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    # Too long for an index, compressed too.
    noise = random.Random(2).randbytes(20_000).hex()  # noqa: S311
    calls = [record(f"u-{n}") for n in range(30)]
    calls[17] = replace(calls[17], project_id=noise)
    position = await drain_segment(draining, write(calls))
    assert position.quarantined == 1
    assert await rows(COUNT) == [(29, 29)]
    (entry,) = put_aside(volume)
    assert calls[17].call_id in entry["line"]
    assert "ProgramLimitExceeded" in entry["reason"]
    assert await counts() == {"lines": 30, "stored": 29, "quarantined": 1}


async def test_what_was_read_ahead_of_a_failure_is_stored_once_later(
    draining: Draining, volume: Volume, write: Write, record: Make, rows: Rows, counts: Counts
) -> None:
    by_chunks = replace(draining, chunk_bytes=6_000)
    calls = [record(f"u-{n}") for n in range(30)]
    segment = write([*calls[:15], b"no line of ours", *calls[15:]])
    volume.quarantine.write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match="quarantine"):
        await drain_segment(by_chunks, segment)
    ((stored, _),) = await rows(COUNT)
    assert 0 < stored < 15  # the chunks before the bad line
    volume.quarantine.unlink()
    assert (await drain_segment(by_chunks, segment)).is_gone
    assert await rows(COUNT) == [(30, 30)]
    assert await counts() == {"lines": 31, "stored": 30, "quarantined": 1}
