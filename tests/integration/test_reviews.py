"""What is a reviewer handed, and what becomes of the answer?"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sidecar.api.deps import _now
from sidecar.core.calls import new_call_id
from sidecar.store.database import transaction
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.controlled import Clock
from tests.drafts import draft_record, drain_records
from tests.measured import Made, store

Desk = Callable[..., Any]


@pytest.fixture
async def api(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge(), review_double=0.0) as found:
        found.app.dependency_overrides[_now] = clock
        yield found


@pytest.fixture
async def experiment(api: Sidecar) -> str:
    return str((await api.experiment())["id"])


async def drawn(api: Sidecar, experiment: str, number: int = 1, **more: Any) -> list[str]:
    """Store drawn calls."""
    calls = [Made(experiment_id=experiment, **more) for _ in range(number)]
    async with transaction(api.app.state.context.engine) as tx:
        await store(tx, calls)
    return [call.call_id for call in calls]


async def drafts(api: Sidecar, folder: Path, *texts: str | None, **more: Any) -> list[str]:
    """Drain drafts, the first one the oldest."""
    records = []
    for number, written in enumerate(texts):
        at = datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=number)
        record = draft_record(at, written, **{"project_id": "default", **more})
        records.append(replace(record, call_id=new_call_id(at), started_at=at))
    return await drain_records(api.app.state.context.engine, folder, records)


async def following(api: Sidecar, reviewer: str = "ann", **more: Any) -> dict[str, Any]:
    answer = await api.admin.get("/v1/reviews/next", params={"reviewer": reviewer, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def handed(api: Sidecar, reviewer: str = "ann", **more: Any) -> str | None:
    item = (await following(api, reviewer, **more))["item"]
    return None if item is None else str(item["call_id"])


async def said(
    api: Sidecar, call_id: str | None, reviewer: str = "ann", **body: Any
) -> tuple[int, dict[str, Any]]:
    whole = {"call_id": call_id, "reviewer": reviewer, **body}
    answer = await api.admin.post("/v1/reviews", json=whole)
    return answer.status_code, answer.json()


async def test_nothing_is_handed_out_where_nothing_waits(api: Sidecar) -> None:
    none = {"count": 0, "is_more": False}
    assert await following(api) == {
        "item": None,
        "locked_until": None,
        "waiting": {"audit": none, "draft": none},
    }


async def test_drawn_calls_come_first_oldest_first_then_drafts_newest_first(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    older, newer = await drafts(api, tmp_path, "one", "two")
    first, second = await drawn(api, experiment, 2)
    for expected in (first, second):
        assert await handed(api) == expected
        status, found = await said(api, expected, label="maybe")
        assert (status, found["feedback"]["source"], found["is_new"]) == (201, "audit", True)
    for expected in (newer, older):
        assert await handed(api) == expected
        status, found = await said(api, expected, approved=True)
        assert (status, found["feedback"]["source"]) == (201, "review")
        assert found["feedback"]["kind"] == "approve"
    assert await handed(api) is None


async def test_a_reviewer_is_told_nothing_that_sways(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    request = {
        "model": "ft:the-canary",
        "metadata": {"arm": "canary-of-the-test"},
        "messages": [{"role": "user", "content": "a p\u00f6st \ud800"}],
        "seed": 2**70,
    }
    [draft] = await drafts(api, tmp_path, "Th\u00e4nk you.\x00", request=request)
    found = await following(api, kind="draft")
    assert found["item"] == {
        "call_id": draft,
        "kind": "draft",
        "task": "draft",
        "group": "reply",
        "labels": [],
        "request": {"messages": request["messages"], "seed": 2**70},
        "text": "Th\u00e4nk you.\x00",
    }
    await drawn(api, experiment, label="irrelevant")
    found = await following(api, "bob")
    assert found["item"]["labels"] == ["relevant", "irrelevant", "maybe"]
    assert found["item"]["text"] is None
    told = json.dumps(found)
    for word in ("canary", "primary", "judge-a", experiment, "0.9", "yes"):
        assert word not in told


async def test_what_waits_is_counted_as_far_as_it_is_worth(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    await drawn(api, experiment, 102)
    await drafts(api, tmp_path, "one", "two")
    waiting = (await following(api))["waiting"]
    assert waiting["audit"] == {"count": 100, "is_more": True}
    assert waiting["draft"] == {"count": 2, "is_more": False}
    await said(api, await handed(api), label="maybe")
    waiting = (await following(api))["waiting"]
    assert waiting["audit"] == {"count": 100, "is_more": False}


async def test_drafts_that_are_no_texts_decided_or_too_old_do_not_wait(
    api: Sidecar, tmp_path: Path, clock: Clock
) -> None:
    await drafts(api, tmp_path, None, "")
    await drafts(api, tmp_path, "cut", outcome="incomplete")
    [decided, good] = await drafts(api, tmp_path, "bad", "good")
    body = {"call_id": decided, "reviewer": "cy", "approved": False, "source": "correction"}
    (await api.admin.post("/v1/feedback", json=body)).raise_for_status()
    found = await following(api)
    assert found["item"]["call_id"] == good
    assert found["waiting"]["draft"]["count"] == 0
    clock.forward(days=15)
    assert await handed(api) is None


async def test_draws_of_an_ended_experiment_wait_two_weeks_more(
    api: Sidecar, experiment: str, clock: Clock
) -> None:
    [call] = await drawn(api, experiment)
    await api.do(experiment, "stop")
    assert await handed(api) == call
    clock.forward(days=15)
    assert await handed(api) is None


async def test_only_the_group_and_kind_that_are_asked_for_are_handed_out(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    [call] = await drawn(api, experiment)
    [draft] = await drafts(api, tmp_path, "one")
    [other] = await drafts(api, tmp_path, "two", group="another")
    assert await handed(api, kind="draft", group="reply") == draft
    assert await handed(api, group="another") == other
    assert await handed(api, group="judge") == call
    assert await handed(api, "bob", group="nothing") is None


async def test_a_key_sees_its_own_projects_calls_alone(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    [call] = await drawn(api, experiment)
    [mine] = await drafts(api, tmp_path, "one", project_id="tests")
    [theirs] = await drafts(api, tmp_path, "two", project_id="others")
    async with api.client(await api.key(scopes=["review"])) as client:
        found = (await client.get("/v1/reviews/next", params={"reviewer": "ann"})).json()
        assert found["item"]["call_id"] == mine
        assert found["waiting"]["audit"]["count"] == 0
        for foreign in (call, theirs):
            for body in ({"approved": True}, {"skip": True}):
                whole = {"call_id": foreign, "reviewer": "ann", **body}
                refused = await client.post("/v1/reviews", json=whole)
                assert (refused.status_code, refused.json()["title"]) == (403, "Denied")
    async with api.client(await api.key(scopes=["read"])) as client:
        refused = await client.get("/v1/reviews/next", params={"reviewer": "ann"})
        assert refused.status_code == 403
    assert await handed(api, "bob") == call


async def test_an_edit_and_a_better_text_become_feedback(api: Sidecar, tmp_path: Path) -> None:
    worse, bad = await drafts(api, tmp_path, "worse", "bad")
    await handed(api)
    _, found = await said(api, bad, edit="good", comment="shorter")
    assert (found["feedback"]["kind"], found["feedback"]["text"]) == ("edit", "good")
    assert found["feedback"]["comment"] == "shorter"
    await handed(api)
    _, found = await said(api, worse, approved=False, better="better")
    assert (found["feedback"]["kind"], found["feedback"]["text"]) == ("reject", "better")


async def test_an_answer_that_is_none_leaves_the_call_with_its_reviewer(
    api: Sidecar, tmp_path: Path
) -> None:
    [call] = await drafts(api, tmp_path, "good")
    await handed(api)
    for body in (
        {},
        {"comment": "hm"},
        {"label": "maybe"},
        {"edit": "good"},
        {"edit": " "},
        {"edit": "a\x00b"},
        {"approved": True, "edit": "x"},
        {"approved": True, "skip": True},
        {"better": "x", "skip": True},
        {"better": "x"},
        {"approved": "yes"},
        {"skip": True, "arm": "b"},
    ):
        status, _ = await said(api, call, **body)
        assert status == 422, body
    assert await handed(api, "bob") is None
    assert await handed(api) == call
    status, _ = await said(api, "no-id", approved=True)
    assert status == 422
    status, _ = await said(api, new_call_id(datetime.now(UTC)), skip=True)
    assert status == 404


async def test_an_answer_sent_again_is_the_same_answer(api: Sidecar, tmp_path: Path) -> None:
    [call] = await drafts(api, tmp_path, "good")
    await handed(api)
    _, first = await said(api, call, approved=True)
    status, second = await said(api, call, approved=True)
    assert (status, second["is_new"]) == (200, False)
    assert first["feedback"] == second["feedback"]
    status, third = await said(api, call, edit="better")  # a changed mind
    assert (status, third["feedback"]["supersedes"]) == (201, first["feedback"]["id"])


async def test_a_call_of_no_queue_is_not_answered_here(api: Sidecar, experiment: str) -> None:
    [call] = await drawn(api, experiment, is_drawn=False, audit_ppm=None)
    status, found = await said(api, call, label="maybe")
    assert (status, "/v1/feedback" in found["detail"]) == (409, True)


async def test_a_call_whose_request_is_gone_holds_nobody_up(
    api: Sidecar, tmp_path: Path
) -> None:
    whole, _ = await drafts(api, tmp_path, "one", "two", post="a long post " * 2_000)
    engine = api.app.state.context.engine
    async with transaction(engine) as tx:
        await tx.execute(text("DELETE FROM contents"))
    assert await handed(api) is None
    assert await handed(api) is None
    [short] = await drafts(api, tmp_path, "three")
    assert await handed(api) == short
    assert whole != short
