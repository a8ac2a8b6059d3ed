"""`/v1/datasets` against clumsy and hostile clients."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.api.datasets import AT_ONCE, MAX_WAITING
from tests.apis import sidecar
from tests.builders import Builder, Rows
from tests.configurations import judge

HUGE = 10**400
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        yield Builder(api, engine, tmp_path, now, rows)


@pytest.mark.parametrize(
    "spec",
    [
        {"min_score": {"name": "tone", "value": HUGE}},
        {"min_score": {"name": "tone", "value": 1e300}},
        {"min_agreement": HUGE},
        {"usd_per_million_tokens": HUGE},
        {"usd_per_million_tokens": 1e308},
        {"validation": HUGE},
        {"holdout": -HUGE},
        {"min_rows": -HUGE},
        {"as_of": HUGE},
        {"min_rows": True},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"since": "2026-02-01", "until": "2026-02-01"},
        {"since": "yesterday"},
        {"since": 10**30},
        {"group": "a\nb"},
        {"group": "\ud800"},
        {"model": "a\x1b[2Jb"},
        {"seed": "\ud800"},
        {"seed": "s" * 1000},
        {"sources": []},
        {"sources": ["nobody"]},
        {"origins": ["nowhere"]},
        {"origins": ["edit"], "kind": "kto"},
        {"kind": "ppo"},
        {"redact": {"patterns": {f"p{n}": "x" for n in range(10_000)}}},
        {"redact": {"patterns": {"a b": "x"}}},
        {"redact": {"patterns": {"mi\nne": "x"}}},
        {"redact": {"patterns": {"mine": "(" * 500}}},
        {"redact": {"patterns": {"mine": "\ud800"}}},
        {"redact": {"patterns": {"mine": "x*"}}},
        {"redact": {"patterns": ["x"]}},
        {"redact": {"mail": "no"}},
    ],
    ids=lambda spec: ",".join(f"{name} {str(value)[:25]}" for name, value in spec.items()),
)
async def test_a_spec_that_can_never_be_right_is_refused_and_nothing_breaks(
    people: Builder, spec: dict[str, Any]
) -> None:
    await people.edit(await people.drafts(12))
    body = json.dumps({"kind": "dpo", **spec})
    answer = await people.api.admin.post("/v1/datasets", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]
    assert len(answer.text) < 20_000
    assert await people.rows("SELECT 1 FROM datasets") == []


async def key(people: Builder, project: str, *scopes: str) -> AsyncClient:
    return people.api.client(await people.api.key(project_id=project, scopes=list(scopes)))


async def test_who_may_only_read_exports_and_builds_nothing(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build(holdout=0)
    path = f"/v1/datasets/{made['id']}"
    async with await key(people, "default", "read") as reader:
        assert (await reader.post("/v1/datasets", json={"kind": "dpo"})).status_code == 403
        assert (await reader.get(path)).json() == made
        assert (await reader.post(f"{path}/verify")).json()["is_intact"]
        exported = await reader.get(f"{path}/export", params={"format": "trl-dpo"})
        assert exported.status_code == 200
    async with await key(people, "default", "review") as reviewer:
        for asked in (path, f"{path}/export?format=trl-dpo", "/v1/judgments/export"):
            assert (await reviewer.get(asked)).status_code == 403
        assert (await reviewer.post(f"{path}/verify")).status_code == 403
    async with people.api.client(None) as nobody:
        for asked in (path, f"{path}/export?format=trl-dpo", "/v1/judgments/export"):
            assert (await nobody.get(asked)).status_code == 401
        assert (await nobody.post("/v1/datasets", json={"kind": "dpo"})).status_code == 401


async def test_a_foreign_project_reads_nothing_whatever_it_asks(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build()
    path = f"/v1/datasets/{made['id']}"
    async with await key(people, "other", "read", "operate") as other:
        for split in ("train", "validation", "holdout"):
            params = {"format": "trl-dpo", "split": split}
            answer = await other.get(f"{path}/export", params=params)
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith("there is no dataset")
        assert (await other.get(path)).status_code == 404
        assert (await other.post(f"{path}/verify")).status_code == 404
        named = {"project_id": "default"}
        assert (await other.get("/v1/datasets", params=named)).status_code == 403
        assert (await other.get("/v1/judgments/export", params=named)).status_code == 403
        assert (
            await other.post("/v1/datasets", json={"kind": "dpo", **named})
        ).status_code == 403
        # Without a name it is about its own project, of which nobody said anything.
        mine = await other.post("/v1/datasets", json={"kind": "dpo"})
        assert mine.status_code == 409
        assert "there is no row" in mine.json()["detail"]


@pytest.mark.parametrize("name", ["ds-0", "%00", "a%0Ab", "x" * 2000, "ds%ff"])
async def test_an_odd_name_is_no_dataset(people: Builder, name: str) -> None:
    admin = people.api.admin
    for answer in (
        await admin.get(f"/v1/datasets/{name}"),
        await admin.post(f"/v1/datasets/{name}/verify"),
        await admin.get(f"/v1/datasets/{name}/export?format=trl-dpo"),
    ):
        assert answer.status_code in {404, 422}, answer.text


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"format": "csv"},
        {"format": "trl-dpo", "split": "test"},
        {"format": "openai-sft"},
    ],
)
async def test_an_export_of_an_odd_format_or_split_is_refused(
    people: Builder, params: dict[str, str]
) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build()
    answer = await people.api.admin.get(f"/v1/datasets/{made['id']}/export", params=params)
    assert answer.status_code == 422


async def test_times_are_read_alike_by_datasets_and_judgments(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build(since="2020-01-01T00:00:00", until="2126-01-01")
    assert made["spec"]["since"] == "2020-01-01T00:00:00+00:00"
    path = "/v1/judgments/export"
    params = {"since": "2020-01-01T00:00:00", "until": "2126-01-01"}
    assert (await people.api.admin.get(path, params=params)).status_code == 409  # no judgment
    params = {"since": "2126-01-01", "until": "2020-01-01"}
    answer = await people.api.admin.get(path, params=params)
    assert answer.status_code == 422
    assert "since must be before until" in answer.json()["detail"]


async def test_it_is_shown_how_many_of_a_datasets_calls_are_left(people: Builder) -> None:
    calls = await people.drafts(20)
    await people.edit(calls)
    made = await people.build()
    assert (made["calls"], made["calls_existing"]) == (20, 20)
    await people.rows(f"DELETE FROM calls WHERE call_id = '{calls[3]}' RETURNING 1")  # noqa: S608
    shown = (await people.api.admin.get(f"/v1/datasets/{made['id']}")).json()
    assert shown == {**made, "calls_existing": 19}
    verified = (await people.api.admin.post(f"/v1/datasets/{made['id']}/verify")).json()
    assert verified["is_intact"]
    exported = await people.api.admin.get(
        f"/v1/datasets/{made['id']}/export", params={"format": "trl-dpo"}
    )
    assert exported.headers["x-signalops-rows"] == str(made["manifest"]["rows"]["train"])


async def test_many_builds_at_once_leave_room_for_others(people: Builder) -> None:
    await people.edit(await people.drafts(40))
    builds = asyncio.gather(
        *(
            people.api.admin.post("/v1/datasets", json={"kind": "dpo", "seed": str(number)})
            for number in range(MAX_WAITING + AT_ONCE + 10)
        )
    )
    while not builds.done():
        assert (await people.api.admin.get("/health/ready")).status_code == 200
        assert (await people.api.admin.get("/v1/datasets")).status_code == 200
        await asyncio.sleep(0)
    answers = await builds
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 201, 503}
    assert statuses[503] > 0
    assert statuses[201] > 0
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert "try again later" in refused.json()["detail"]
    assert await people.rows("SELECT count(*) FROM datasets") == [(statuses[201],)]


async def test_what_is_said_during_a_build_changes_nothing_of_it(people: Builder) -> None:
    calls = await people.drafts(60)
    await people.edit(calls[:30])

    async def speak() -> None:
        for number, call_id in enumerate(calls):
            word = {"call_id": call_id, "edit": f"Best {number}.", "reviewer": "ann"}
            await people.say([word])

    speaking = asyncio.create_task(speak())
    made = [await people.build(holdout=0, min_rows=1) for _ in range(6)]
    await speaking
    for one in made:
        again = await people.build(holdout=0, min_rows=1, as_of=one["spec"]["as_of"])
        assert (again["id"], again["hash"]) == (one["id"], one["hash"])
        path = f"/v1/datasets/{one['id']}/verify"
        assert (await people.api.admin.post(path)).json()["is_intact"]
