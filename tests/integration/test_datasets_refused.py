"""What no dataset is made of is refused, with what was found and what is needed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import transaction
from tests.apis import sidecar
from tests.builders import Builder, Rows
from tests.configurations import judge

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        yield Builder(api, engine, tmp_path, now, rows)


async def refused(people: Builder, kind: str = "dpo", **spec: Any) -> tuple[int, str, str]:
    answer = await people.api.admin.post("/v1/datasets", json={"kind": kind, **spec})
    said = answer.json()
    return answer.status_code, said["type"].removeprefix("urn:signalops:"), said["detail"]


async def test_a_dataset_of_nothing_is_refused(people: Builder) -> None:
    for kind in ("sft", "dpo", "kto"):
        status, what, detail = await refused(people, kind)
        assert (status, what) == (409, "insufficient-data")
        assert "there is no row" in detail
    assert (await people.api.admin.get("/v1/datasets")).json()["items"] == []


async def test_too_few_rows_are_refused_and_no_row_is_left_behind(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    status, _, detail = await refused(people, min_rows=21)
    assert status == 409
    assert "21 are needed" in detail
    assert await people.rows("SELECT 1 FROM dataset_rows") == []


async def test_texts_of_one_class_are_refused_unless_allowed(people: Builder) -> None:
    calls = await people.drafts(20)
    await people.say(
        [{"call_id": call_id, "approved": True, "reviewer": "ann"} for call_id in calls]
    )
    status, _, detail = await refused(people, "kto", holdout=0)
    assert status == 409
    assert "one class, 'good'" in detail
    made = await people.build("kto", holdout=0, allow_one_class=True)
    assert made["manifest"]["labels"]["train"].keys() == {"good"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"holdout": 1}, "holdout is a share"),
        ({"validation": True}, "validation"),
        ({"min_agreement": 0.4}, "min_agreement"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "since must be before until"),
        ({"redact": {"patterns": {"mine": "("}}}, "pattern mine is no regular expression"),
        ({"redact": {"patterns": {"mine": "x" * 501}}}, "mine"),
        ({"redact": {"patterns": {"mine": "(?:(?:x?){999}){65535}y"}}}, "repeats too much"),
        ({"as_of": 10**6}, "has not been said yet; the newest feedback is 0"),
        ({"unknown": 1}, "unknown"),
        ({"seed": "a\x00"}, "NUL"),
    ],
)
async def test_what_can_never_be_is_refused(
    people: Builder, spec: dict[str, Any], words: str
) -> None:
    status, _, detail = await refused(people, **spec)
    assert status == 422
    assert words in detail


async def test_a_foreign_project_is_neither_built_nor_shown(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build()
    key = (
        await people.api.admin.post(
            "/v1/keys", json={"project_id": "other", "scopes": ["read", "operate"]}
        )
    ).json()["key"]
    async with people.api.client(key) as other:
        asked = {"kind": "dpo", "project_id": "default"}
        assert (await other.post("/v1/datasets", json=asked)).status_code == 403
        assert (await other.post("/v1/datasets", json={"kind": "dpo"})).status_code == 409
        assert (await other.get(f"/v1/datasets/{made['id']}")).status_code == 404
        assert (await other.post(f"/v1/datasets/{made['id']}/verify")).status_code == 404
        assert (await other.get("/v1/datasets")).json()["items"] == []


async def test_filters_choose_by_group_model_time_score_and_origin(people: Builder) -> None:
    calls = await people.drafts(20)
    await people.edit(calls)
    await people.edit(await people.drafts(15, first=20, provider_model="drafter-2"))
    for number, call_id in enumerate(calls):
        words = {"call_id": call_id, "name": "tone", "value": number / 20, "reviewer": "ann"}
        await people.say([words])

    async def count(**spec: Any) -> int:
        made = await people.build(min_rows=1, holdout=0, **spec)
        return sum(made["manifest"]["rows"].values())

    assert await count() == 35
    assert await count(model="drafter-2") == 15
    assert await count(group="reply") == 35
    assert await count(arm="primary") == 35
    assert await count(origins=["edit", "choice"]) == 35
    assert await count(min_score={"name": "tone", "value": 0.5}) == 10
    assert await count(until="2126-01-01T00:00:00Z") == 35
    for nothing in (
        {"group": "x"},
        {"arm": "x"},
        {"origins": ["choice"]},
        {"sources": ["judge"]},
        {"since": "2126-01-01"},
    ):
        assert (await refused(people, **nothing))[0] == 409, nothing


async def test_what_is_redacted_is_counted_and_gone(people: Builder) -> None:
    calls = await people.drafts(20)
    words = [
        {"call_id": call_id, "edit": f"Mail ann{n}@b.example, T-{n}.", "reviewer": "ann"}
        for n, call_id in enumerate(calls)
    ]
    await people.say(words)
    made = await people.build(holdout=0, redact={"patterns": {"ticket": r"T-\d+"}})
    assert made["manifest"]["redactions"] == {"mail": 20, "ticket": 20}
    texts = {orjson.loads(row[4]) for row in await people.rows_of(made)}
    assert texts == {"Mail [mail], [ticket]."}
    plain = await people.build(holdout=0, redact={"mail": False})
    assert plain["manifest"]["redactions"] == {}


async def test_a_pair_that_redaction_makes_equal_is_left_out(people: Builder) -> None:
    calls = await people.drafts(20)
    await people.edit(calls)
    pair = {"chosen": "Ask @ann.", "rejected": "Ask @bob."}
    await people.say([{"call_id": calls[0], "pair": pair, "reviewer": "ann"}])
    made = await people.build(holdout=0)
    assert made["manifest"]["left_out"] == {"equal_once_redacted": 1}


async def test_a_changed_row_is_seen(people: Builder) -> None:
    await people.edit(await people.drafts(20))
    made = await people.build()
    path = f"/v1/datasets/{made['id']}/verify"
    assert (await people.api.admin.post(path)).json()["is_intact"]
    async with transaction(people.engine) as tx:
        await tx.execute(text("ALTER TABLE dataset_rows DISABLE TRIGGER append_only"))
        await tx.execute(text("UPDATE dataset_rows SET split = 'train'"))
    assert not (await people.api.admin.post(path)).json()["is_intact"]


async def test_other_processes_give_the_same_hash(people: Builder, database_url: str) -> None:
    await people.edit(await people.drafts(60))
    first = await people.build()

    def build(seed: str) -> str:
        command = [sys.executable, "-m", "tests.builds", database_url, "dpo"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    for seed in ("1", "2"):
        assert await asyncio.to_thread(build, seed) == f"{first['hash']} False\n"


async def test_what_is_held_out_once_is_not_trained_on_later(people: Builder) -> None:
    await people.edit(await people.drafts(40))
    await people.build(holdout=0.3)
    status, _, detail = await refused(people, holdout=0.1)
    assert status == 409
    assert "hold out 0.3 of its units" in detail
    made = await people.build(holdout=0.1, expose_holdout=True)
    assert made["manifest"]["spec"]["expose_holdout"] is True
    await people.build(holdout=0.5)
