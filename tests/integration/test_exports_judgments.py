"""Judgments as files: what judges were asked and said, with people's labels."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import Answer, CallRecord, new_call_id, started_at_of
from sidecar.core.datasets import Kind
from sidecar.core.splits import Shares, is_held_out
from sidecar.service.documents import encode_exactly
from sidecar.service.drain import Draining, drain_segment
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.integration.conftest import Write
from tests.trained import keep, rows

SHARES = Shares("default", "", 0.0, 0.1)
HELD = [f"u-{n}" for n in range(400) if is_held_out(f"u-{n}", SHARES)]
FREE = [f"u-{n}" for n in range(400) if not is_held_out(f"u-{n}", SHARES)]
PATH = "/v1/judgments/export"
POST = "  Ünïcödé \U0001f600 « post » "


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
async def calls(
    draining: Draining, write: Write, record: Callable[..., CallRecord], now: datetime
) -> list[CallRecord]:
    """Four calls, the third of the holdout, an hour apart."""
    units = (FREE[0], FREE[1], HELD[0], FREE[2])
    made = []
    for number, unit in enumerate(units):
        at = now - timedelta(hours=4 - number)
        one = replace(record(unit, POST * (number + 1)), call_id=new_call_id(at))
        made.append(replace(one, started_at=at, group="judge" if number else "other"))
    await drain_segment(draining, write(made))
    return made


async def say(api: Sidecar, call: CallRecord, label: str, reviewer: str) -> None:
    body = {"call_id": call.call_id, "label": label, "source": "correction"}
    answer = await api.admin.post("/v1/feedback", json={**body, "reviewer": reviewer})
    assert answer.status_code == 201, answer.text


async def export(api: Sidecar, **params: Any) -> list[dict[str, Any]]:
    answer = await api.admin.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    found = [json.loads(line) for line in answer.content.split(b"\n")[:-1]]
    assert answer.headers["x-signalops-rows"] == str(len(found))
    return found


async def test_a_judgment_is_what_was_asked_said_and_should_have_been(
    api: Sidecar, calls: list[CallRecord]
) -> None:
    for label, reviewer in (("maybe", "ann"), ("maybe", "bob"), ("relevant", "cy")):
        await say(api, calls[1], label, reviewer)
    for label, reviewer in (("maybe", "ann"), ("relevant", "bob")):
        await say(api, calls[3], label, reviewer)
    found = await export(api)
    assert [one["call_id"] for one in found] == [calls[n].call_id for n in (0, 1, 3)]
    assert [one["human_label"] for one in found] == [None, "maybe", None]
    assert [one["reviewers"] for one in found] == [0, 3, 2]
    assert found[1]["prompt"] == calls[1].request["messages"]
    assert found[1]["answer"] == calls[1].answer.text
    assert (found[1]["label"], found[1]["confidence"]) == ("relevant", 0.9)
    assert found[1]["tools"] is None


async def test_the_holdouts_judgments_stay_and_are_counted(
    api: Sidecar, calls: list[CallRecord], engine: AsyncEngine, now: datetime
) -> None:
    answer = await api.admin.get(PATH)
    assert answer.headers["x-signalops-held-out"] == "1"
    assert calls[2].call_id not in answer.text
    # A dataset that held out more says what must stay from then on.
    await keep(engine, Kind.SFT, rows(Kind.SFT, 10), now, holdout=0.999999)
    refused = await api.admin.get(PATH)
    assert refused.status_code == 409
    assert "4 are of the holdout" in refused.json()["detail"]


async def test_filters_choose_by_group_and_time(api: Sidecar, calls: list[CallRecord]) -> None:
    assert [one["call_id"] for one in await export(api, group="other")] == [calls[0].call_id]
    since, until = (started_at_of(calls[n].call_id).isoformat() for n in (1, 3))
    found = await export(api, since=since, until=until)
    assert [one["call_id"] for one in found] == [calls[1].call_id]


async def test_a_table_of_judgments_holds_the_prompt_as_its_json(
    api: Sidecar, calls: list[CallRecord], tmp_path: Path
) -> None:
    answer = await api.admin.get(PATH, params={"format": "parquet"})
    assert answer.status_code == 200, answer.text
    path = tmp_path / "table.parquet"
    path.write_bytes(answer.content)
    table = pl.read_parquet(path)
    assert table["call_id"].to_list() == [calls[n].call_id for n in (0, 1, 3)]
    asked = [json.loads(text) for text in table["prompt"].to_list()]
    assert asked == [calls[n].request["messages"] for n in (0, 1, 3)]


async def test_another_projects_judgments_are_not_there(
    api: Sidecar, calls: list[CallRecord]
) -> None:
    async with api.client(await api.key(project_id="other")) as other:
        assert (await other.get(PATH)).status_code == 409
        assert (await other.get(PATH, params={"project_id": "default"})).status_code == 403


async def test_one_answer_that_is_no_utf8_keeps_no_other_from_the_table(
    api: Sidecar,
    draining: Draining,
    write: Write,
    record: Callable[..., CallRecord],
    tmp_path: Path,
) -> None:
    odd = Answer(text="half \ud83d of a pair, and \\ud83d as a text, and \U0001f600")
    asked = record(FREE[1], "asked \udc00")
    calls = [record(FREE[0]), replace(asked, answer=odd), record(FREE[2])]
    calls.sort(key=lambda one: one.call_id)  # of one millisecond, they are in any order
    await drain_segment(draining, write([encode_exactly(one.to_line()) for one in calls]))
    assert [one["answer"] for one in await export(api)] == [one.answer.text for one in calls]
    answer = await api.admin.get(PATH, params={"format": "parquet"})
    assert answer.status_code == 200, answer.text
    path = tmp_path / "table.parquet"
    path.write_bytes(answer.content)
    table = pl.read_parquet(path)
    told = dict(zip(table["call_id"], table["answer"], strict=True))
    mended = "half \ufffd of a pair, and \\ud83d as a text, and \U0001f600"
    assert told == {one.call_id: one.answer.text for one in calls} | {asked.call_id: mended}
    prompts = dict(zip(table["call_id"], table["prompt"], strict=True))
    assert json.loads(prompts[asked.call_id]) == asked.request["messages"]
