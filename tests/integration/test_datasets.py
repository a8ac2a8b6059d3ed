"""What people said of calls becomes datasets, through the API as a client does it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import Answer, CallRecord
from tests.apis import sidecar
from tests.builders import Builder, Rows, post_of
from tests.configurations import judge
from tests.drafts import drain_records


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        yield Builder(api, engine, tmp_path, now, rows)


async def test_edits_become_pairs_with_the_exact_prompt(people: Builder) -> None:
    calls = await people.drafts(40)
    await people.edit(calls)
    made = await people.build(holdout=0.2)
    found = await people.rows_of(made)
    manifest = made["manifest"]
    assert sum(manifest["rows"].values()) + sum(manifest["left_out"].values()) == 40
    assert len(found) == sum(manifest["rows"].values())
    for _, call_id, _, prompt, chosen, rejected, _ in found:
        number = calls.index(call_id)
        assert orjson.loads(prompt) == [{"role": "user", "content": post_of(number)}]
        assert orjson.loads(chosen) == f"Better {number}."
        assert orjson.loads(rejected) == f"Draft {number}."
    assert manifest["models"] == {"drafter-1": len(found)}
    assert manifest["origins"] == {"edit": len(found)}
    assert manifest["tokens"]["total"] > 0
    assert made["id"] == f"ds-{made['hash'][:16]}"


async def test_the_same_words_give_the_same_dataset_once(people: Builder) -> None:
    await people.edit(await people.drafts(30))
    first, second = await asyncio.gather(people.build(), people.build())
    assert first["number"] == second["number"]
    again = await people.api.admin.post("/v1/datasets", json={"kind": "dpo"})
    assert (again.status_code, again.json()) == (200, first)
    listed = (await people.api.admin.get("/v1/datasets")).json()
    assert [item["id"] for item in listed["items"]] == [first["id"]]


async def test_later_words_give_another_dataset_and_as_of_the_old_one_again(
    people: Builder,
) -> None:
    calls = await people.drafts(30)
    await people.edit(calls)
    first = await people.build()
    await people.say([{"call_id": calls[0], "approved": True, "reviewer": "ann"}])
    await people.edit(await people.drafts(5, first=30), reviewer="bob")
    second = await people.build()
    assert second["hash"] != first["hash"]
    third = await people.build(as_of=first["spec"]["as_of"])
    assert third["number"] == first["number"]


async def test_a_dataset_keeps_its_bytes_when_its_calls_are_gone(people: Builder) -> None:
    calls = await people.drafts(30)
    await people.edit(calls)
    made = await people.build()
    before = await people.rows_of(made)
    await people.rows("DELETE FROM calls RETURNING 1")
    verified = (await people.api.admin.post(f"/v1/datasets/{made['id']}/verify")).json()
    assert verified["is_intact"]
    assert verified["calls"] == len({row[1] for row in before})
    assert verified["calls_existing"] == 0
    assert await people.rows_of(made) == before
    refused = await people.api.admin.post("/v1/datasets", json={"kind": "dpo"})
    assert refused.status_code == 409
    assert "call_gone 30" in refused.json()["detail"]


async def test_two_reviewers_who_contradict_each_other_leave_a_pair_out(
    people: Builder,
) -> None:
    calls = await people.drafts(30)
    await people.edit(calls)
    pair = {"chosen": "Draft 0.", "rejected": "Better 0."}
    await people.say([{"call_id": calls[0], "pair": pair, "reviewer": "bob"}])
    made = await people.build()
    assert made["manifest"]["left_out"]["conflict"] == 2
    await people.say([{"call_id": calls[0], "edit": "Better 0.", "reviewer": "cid"}])
    made = await people.build()
    assert made["manifest"]["left_out"]["conflict"] == 1
    made = await people.build(min_agreement=0.7)
    assert made["manifest"]["left_out"]["conflict"] == 2


async def test_a_superseded_word_no_longer_carries_its_pair(people: Builder) -> None:
    calls = await people.drafts(30)
    await people.edit(calls)
    await people.say([{"call_id": calls[3], "edit": "Best 3.", "reviewer": "ann"}])
    found = await people.rows_of(await people.build(holdout=0))
    mine = [row for row in found if row[1] == calls[3]]
    assert [orjson.loads(row[4]) for row in mine] == ["Best 3."]


async def test_drafts_become_answers_to_imitate_and_good_and_bad_texts(people: Builder) -> None:
    calls = await people.drafts(36)
    words: list[dict[str, Any]] = []
    for number, call_id in enumerate(calls):
        said = [{"approved": True}, {"edit": f"Better {number}."}, {"approved": False}][
            number % 3
        ]
        words.append({"call_id": call_id, "reviewer": "ann", **said})
    await people.say(words)
    imitate = await people.rows_of(await people.build("sft", holdout=0))
    assert {row[1]: orjson.loads(row[4]) for row in imitate} == {
        call_id: f"{'Better' if number % 3 else 'Draft'} {number}."
        for number, call_id in enumerate(calls)
        if number % 3 != 2
    }
    judged = await people.rows_of(await people.build("kto", holdout=0))
    assert sorted((row[1], orjson.loads(row[4]), row[6]) for row in judged) == sorted(
        (call_id, text, is_good)
        for number, call_id in enumerate(calls)
        for text, is_good in (
            [(f"Draft {number}.", True)],
            [(f"Better {number}.", True), (f"Draft {number}.", False)],
            [(f"Draft {number}.", False)],
        )[number % 3]
    )


async def test_judges_answers_are_kept_or_corrected_by_the_majority(
    people: Builder, record: Callable[..., CallRecord]
) -> None:
    answer = Answer(text='{"label": "relevant", "confidence": 0.9}')
    records = [
        replace(record(f"u-{n}", post_of(n)), experiment_id=None, answer=answer)
        for n in range(30)
    ]
    calls = await drain_records(people.engine, people.folder, records)
    said: list[tuple[int, str, str]] = [
        (n, "ann", "maybe" if n % 2 else "relevant") for n in range(30)
    ]
    said += [(0, "bob", "maybe"), (1, "bob", "maybe"), (1, "cid", "irrelevant")]
    await people.say(
        [
            {"call_id": calls[n], "label": label, "reviewer": who, "comment": "Hm."}
            for n, who, label in said
        ],
    )
    made = await people.build("sft", holdout=0, group="judge")
    assert made["manifest"]["left_out"] == {"tie": 1}
    found = {row[1]: row for row in await people.rows_of(made)}
    assert found.keys() == set(calls[1:])
    assert orjson.loads(found[calls[2]][4]) == answer.text
    assert orjson.loads(orjson.loads(found[calls[1]][4])) == {
        "label": "maybe",
        "reasoning": "Hm.",
    }
    assert made["manifest"]["labels"]["train"].keys() == {"maybe", "relevant"}
