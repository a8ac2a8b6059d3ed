"""What becomes of many words that are sent at once, some of them bad?"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.service import totals
from sidecar.store import totals as store_totals
from sidecar.store.database import transaction
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.drafts import draft_record, drain_records
from tests.measured import Made, new_id, store

TEXT = "As it was."


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
def engine(api: Sidecar) -> AsyncEngine:
    found: AsyncEngine = api.app.state.context.engine
    return found


async def drafts(engine: AsyncEngine, folder: Path, number: int, **more: Any) -> list[str]:
    """Store answered drafters' calls."""
    now = datetime.now(UTC)
    records = [draft_record(now, TEXT, f"post {place}", **more) for place in range(number)]
    return await drain_records(engine, folder, records)


async def send(api: Sidecar, items: object) -> httpx.Response:
    headers = {"content-type": "application/json"}
    content = json.dumps({"items": items})
    return await api.admin.post("/v1/feedback", content=content, headers=headers)


async def test_bad_items_are_named_by_their_index_and_the_others_are_kept(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    calls = await drafts(engine, tmp_path, 3)
    [foreign] = await drafts(engine, tmp_path, 1, project_id="other")
    bad: list[tuple[Any, int, str, str]] = [
        ({"edit": "a\x00b"}, 422, "invalid", "NUL"),
        ({"edit": "a\ud800b"}, 422, "invalid", "surrogate"),
        ({"edit": "x" * 5_000_000}, 422, "invalid", "5,000,000 bytes"),
        ({"edit": TEXT}, 422, "invalid", "approved: true"),
        ({"approved": "yes"}, 422, "invalid-request", "approved"),
        ({}, 422, "invalid", "exactly one"),
        ({"label": "relevant"}, 422, "invalid", "no judge's"),
        ({"approved": True, "source": "audit"}, 409, "conflict", "not drawn"),
        ({"approved": True, "call_id": new_id(datetime.now(UTC))}, 404, "not-found", "call"),
        ({"approved": True, "call_id": "call-1"}, 422, "invalid", "no call id"),
        ({"approved": True, "call_id": foreign}, 403, "denied", "another project's"),
        ({"approved": True, "reviewer": "a\nb"}, 422, "invalid-request", "reviewer"),
        ({"approved": True, "odd": 1}, 422, "invalid-request", "odd"),
        ("approved", 422, "invalid-request", "dictionary"),
        (None, 422, "invalid-request", "dictionary"),
    ]
    plain = {"call_id": calls[0], "reviewer": "ann"}
    items: list[Any] = [
        {**plain, **each} if isinstance(each, dict) else each for each, *_ in bad
    ]
    items[4:4] = [{**plain, "edit": "Good."}]
    items.append({**plain, "call_id": calls[1], "approved": True})
    async with api.client(await api.key(project_id="default", scopes=["review"])) as ours:
        answer = await ours.post(
            "/v1/feedback",
            content=json.dumps({"items": items}),
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 200
    found = answer.json()
    assert (found["kept"], found["refused"]) == (2, len(bad))
    assert [item["index"] for item in found["items"]] == list(range(len(items)))
    problems = [item["problem"] for item in found["items"] if "problem" in item]
    for problem, (_, status, kind, says) in zip(problems, bad, strict=True):
        assert (problem["status"], problem["type"]) == (status, f"urn:signalops:{kind}")
        assert says in problem["detail"]
        assert len(problem["detail"]) < 1_000
    kept = [item for item in found["items"] if "feedback" in item]
    assert [(item["index"], item["is_new"]) for item in kept] == [(4, True), (16, True)]
    assert [item["feedback"]["call_id"] for item in kept] == calls[:2]


NO_BATCH = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"items"',
    "no items": b'{"items": []}',
    "items that are an object": b'{"items": {}}',
    "items that are null": b'{"items": null}',
    "something besides": b'{"items": [{}], "more": 1}',
    "too many": b'{"items": [' + b"{}," * 1000 + b"{}]}",
    "half of it": b'{"items": [',
    "no UTF-8": b'{"items": ["\xff"]}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", NO_BATCH)
async def test_a_body_that_is_no_batch_is_refused_as_a_whole(api: Sidecar, name: str) -> None:
    headers = {"content-type": "application/json"}
    answer = await api.admin.post("/v1/feedback", content=NO_BATCH[name], headers=headers)
    # FastAPI's own word for what it cannot even read is 400.
    assert answer.status_code == (400 if name in ("no UTF-8", "too deep") else 422)
    assert len(answer.text) < 2_000


async def test_texts_that_are_too_much_for_one_transaction_are_refused_together(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    [call_id] = await drafts(engine, tmp_path, 1)
    item = {"call_id": call_id, "reviewer": "ann", "edit": "x" * 1_000_000}
    answer = await send(api, [item] * 33)
    assert (answer.status_code, "several batches" in answer.text) == (422, True)


async def test_the_later_of_two_words_in_a_batch_supersedes_the_earlier(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    [call_id] = await drafts(engine, tmp_path, 1)
    ann = {"call_id": call_id, "reviewer": "ann"}
    await send(api, [{**ann, "edit": "Zero."}])
    answer = await send(
        api,
        [
            {**ann, "edit": "One."},
            {**ann, "approved": True},
            {**ann, "approved": True},
            {**ann, "edit": "One.", "reviewer": "bob"},
            {**ann, "edit": "Two."},
        ],
    )
    items = answer.json()["items"]
    assert [item["is_new"] for item in items] == [True, True, False, True, True]
    said = [item["feedback"] for item in items]
    assert [each["is_current"] for each in said] == [False, False, False, True, True]
    assert said[1] == said[2]
    assert said[4]["supersedes"] == said[1]["id"]
    history = await api.admin.get("/v1/feedback", params={"call_id": call_id})
    stored = [(each["text"], each["is_current"]) for each in history.json()["items"]]
    assert stored == [
        ("Zero.", False),
        ("One.", False),
        (None, False),
        ("One.", True),
        ("Two.", True),
    ]
    assert history.json()["draft"] == {"state": "edited", "final": "Two."}


async def test_a_key_that_comes_twice_in_a_batch_is_one_word(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    first, second = await drafts(engine, tmp_path, 2)
    word = {"call_id": first, "reviewer": "ann", "edit": "One.", "key": "k-1"}
    answer = await send(api, [word, word, {**word, "call_id": second}])
    items = answer.json()["items"]
    assert [item.get("is_new") for item in items] == [True, False, None]
    assert items[2]["problem"]["status"] == 409


async def test_a_batch_sent_again_changes_nothing_with_and_without_keys(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    calls = await drafts(engine, tmp_path, 4)
    items: list[dict[str, Any]] = [
        {"call_id": call_id, "reviewer": "ann", "edit": f"Text {place}."}
        for place, call_id in enumerate(calls)
    ]
    items += [{**item, "reviewer": "bob", "key": item["call_id"]} for item in items]
    first = (await send(api, items)).json()
    again = (await send(api, items)).json()
    assert [item["is_new"] for item in again["items"]] == [False] * 8
    assert [item["feedback"] for item in again["items"]] == [
        item["feedback"] for item in first["items"]
    ]


async def test_one_batch_sent_many_times_at_once_is_kept_once(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    calls = await drafts(engine, tmp_path, 20)
    items = [
        {"call_id": call_id, "reviewer": "ann", "edit": "One.", "key": f"{keyed}-{call_id}"}
        if keyed
        else {"call_id": call_id, "reviewer": "bob", "edit": "One."}
        for keyed in (True, False)
        for call_id in calls
    ]
    turned = items[::-1]  # in another order, as another writer may have it
    answers = await asyncio.gather(
        *(send(api, items if number % 2 else turned) for number in range(6))
    )
    found = [item for answer in answers for item in answer.json()["items"]]
    assert all("feedback" in item for item in found)
    assert sum(item["is_new"] for item in found) == len(items)
    async with transaction(engine) as tx:
        counted = await tx.execute(
            text("SELECT count(*), count(*) FILTER (WHERE is_current) FROM feedback")
        )
    assert tuple(counted.one()) == (40, 40)


async def test_a_batch_takes_no_more_statements_the_longer_it_is(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    calls = await drafts(engine, tmp_path, 60)
    counted: list[int] = []

    def count(*_: object) -> None:
        counted[-1] += 1

    event.listen(engine.sync_engine, "before_cursor_execute", count)
    for part in (calls[:10], calls[10:]):
        counted.append(0)
        items = [
            {"call_id": call_id, "reviewer": "ann", "key": call_id, "edit": "One."}
            for call_id in part
        ]
        assert (await send(api, items)).json()["kept"] == len(part)
    event.remove(engine.sync_engine, "before_cursor_execute", count)
    assert 5 < counted[0] == counted[1]


async def test_totals_follow_a_batch_as_they_follow_single_words(
    api: Sidecar, engine: AsyncEngine
) -> None:
    experiment_id = str((await api.experiment())["id"])
    calls = [Made(experiment_id=experiment_id, unit_id=f"u-{n}") for n in range(30)]
    async with transaction(engine) as tx:
        await store(tx, calls)
    items = [
        {
            "call_id": call.call_id,
            "source": "audit",
            "reviewer": reviewer,
            "label": label,
        }
        for call in calls
        for reviewer, label in (("ann", "maybe"), ("bob", "irrelevant"), ("ann", "relevant"))
    ]
    assert (await send(api, items)).json()["kept"] == 90
    async with transaction(engine) as tx:
        assert (await totals.verify(tx, experiment_id)).differences == []
        found = (await store_totals.of_epoch(tx, experiment_id, 1))[1, "primary"]
    assert (found.audit.labelled, found.audit.agree) == (30, 30)
