"""Whatever the surface and the characters, a row's prompt is the journalled request's own."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import Answer
from sidecar.core.splits import Shares, is_held_out
from tests.apis import sidecar
from tests.builders import Builder, Rows, post_of
from tests.configurations import judge
from tests.drafts import draft_record, drain_records

PLAIN = {"handles": False, "links": False, "mail": False, "phone": False}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
SYSTEM = "Be kind. " * 60  # long enough to be stored apart


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        yield Builder(api, engine, tmp_path, now, rows)


def request_of(number: int) -> tuple[str, dict[str, Any]]:
    """Ask by each surface in turn, in all kinds of characters."""
    post = f'{post_of(number)} \x00é😀\u2028\\" @ann https://a.example'
    said = {"role": "user", "content": post}
    chat = {"messages": [{"role": "system", "content": SYSTEM}, said], "tools": TOOLS}
    messages = {"system": SYSTEM, "messages": [said], "max_tokens": 5}
    responses = {"instructions": SYSTEM, "input": post}
    return (("chat", chat), ("messages", messages), ("responses", responses))[number % 3]


async def stored(people: Builder, count: int) -> list[str]:
    records = []
    for number in range(count):
        surface, request = request_of(number)
        records.append(
            draft_record(
                people.now,
                f"Draft {number}.",
                unit_id=f"u-{number}",
                surface=surface,
                request={"model": "reply", **request},
            )
        )
    return await drain_records(people.engine, people.folder, records)


async def test_a_rows_texts_are_the_bytes_of_the_request(people: Builder) -> None:
    calls = await stored(people, 30)
    await people.edit(calls)
    found = await people.rows_of(await people.build(holdout=0, redact=PLAIN))
    assert len(found) == 30
    for _, call_id, _, prompt, *_ in found:
        number = calls.index(call_id)
        journalled = orjson.dumps(request_of(number)[1])
        messages = orjson.loads(prompt)
        assert [message["role"] for message in messages] == ["system", "user"]
        for message in messages:
            assert orjson.dumps(message["content"]) in journalled
            assert orjson.dumps(message["content"]) in prompt


async def test_tools_stay_with_the_prompt(people: Builder) -> None:
    await people.edit(await stored(people, 30))
    made = await people.build(holdout=0)
    number = made["number"]
    query = f"SELECT tools FROM dataset_rows WHERE number = {number}"  # noqa: S608
    tools = [row[0] for row in await people.rows(query)]
    assert sorted(each is None for each in tools) == [False] * 10 + [True] * 20
    assert {orjson.dumps(TOOLS)} == {each for each in tools if each is not None}


async def test_answers_without_a_text_are_left_out_and_counted(people: Builder) -> None:
    calls = await people.drafts(20)
    records = [
        draft_record(
            people.now,
            post=post_of(30 + number),
            unit_id=f"u-{30 + number}",
            answer=Answer(text="Well.", tool_calls=({"id": "1"},)),
        )
        for number in range(3)
    ]
    calls += await drain_records(people.engine, people.folder, records)
    await people.say(
        [{"call_id": call_id, "approved": True, "reviewer": "ann"} for call_id in calls]
    )
    made = await people.build("sft", holdout=0)
    assert made["manifest"]["left_out"] == {"no_text": 3}
    assert sum(made["manifest"]["rows"].values()) == 20


async def test_rows_with_half_of_a_surrogate_pair_are_left_out_and_counted(
    people: Builder,
) -> None:
    calls = await people.drafts(20)
    odd = [
        ("A draft.", "half \ud83d of a pair"),
        ("Half \udc00 of a pair.", post_of(41)),
        ("Whole \U0001f600, and \\ud83d as a text.", post_of(42) + " \\ud83d \U0001f600"),
    ]
    records = [
        draft_record(people.now, text, post, unit_id=f"odd-{post_of(number)}")
        for number, (text, post) in enumerate(odd)
    ]
    calls += await drain_records(people.engine, people.folder, records)
    approved = [{"call_id": call_id, "approved": True, "reviewer": "ann"} for call_id in calls]
    await people.say(approved)
    made = await people.build("sft", holdout=0)
    assert made["manifest"]["left_out"] == {"not_utf8": 2}
    kept = {row[1] for row in await people.rows_of(made)}
    assert kept == {*calls[:20], calls[22]}


async def test_what_is_like_a_held_out_row_is_left_out(people: Builder) -> None:
    shares = Shares("default", "", validation=0, holdout=0.3)
    other = next(unit for unit in map(str, range(100)) if not is_held_out(unit, shares))
    calls = await people.drafts(60)
    # The same posts again, from another unit: each is like a row of the first.
    calls += await people.drafts(60, unit_id=other)
    await people.edit(calls)
    made = await people.build("dpo", holdout=0.3, validation=0)
    manifest = made["manifest"]
    assert manifest["rows"]["holdout"] > 0
    assert manifest["left_out"]["near_holdout"] >= manifest["rows"]["holdout"]
    sides: dict[bytes, set[str]] = {}
    for split, _, _, prompt, *_ in await people.rows_of(made):
        sides.setdefault(prompt, set()).add(split)
    assert {len(found) for found in sides.values()} == {1}
