"""What becomes of what people say of calls?"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sidecar.core.cells import Cell
from sidecar.service import totals
from sidecar.store import totals as store_totals
from sidecar.store.database import transaction
from sidecar.store.partitions import ensure_partitions, month_of
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.measured import Made, new_id, store

CORRECTION = {"source": "correction", "reviewer": "ann"}
AUDIT = {"source": "audit", "reviewer": "ann"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
async def experiment(api: Sidecar) -> str:
    """An experiment whose calls the tests store."""
    return str((await api.experiment())["id"])


async def stored(api: Sidecar, experiment: str, **more: Any) -> str:
    """Store a call and count it."""
    call = Made(experiment_id=experiment, **more)
    async with transaction(api.app.state.context.engine) as tx:
        await store(tx, [call])
    return call.call_id


async def cell(api: Sidecar, experiment: str) -> Cell:
    """Fetch the totals of the primary, which a recount must confirm."""
    async with transaction(api.app.state.context.engine) as tx:
        assert (await totals.verify(tx, experiment)).differences == []
        return (await store_totals.of_epoch(tx, experiment, 1))[1, "primary"]


async def give(api: Sidecar, call_id: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.admin.post("/v1/feedback", json={"call_id": call_id, **body})
    return answer.status_code, answer.json()


async def test_an_audits_label_changes_the_totals(api: Sidecar, experiment: str) -> None:
    call_id = await stored(api, experiment)
    before = await cell(api, experiment)
    status, found = await give(api, call_id, label="MAYBE", **AUDIT)
    assert (status, found["label"], found["is_current"]) == (201, "maybe", True)
    after = await cell(api, experiment)
    assert (before.audit.drawn, before.audit.labelled) == (1, 0)
    assert (after.audit.labelled, after.count("disagree"), after.audit.w) == (1, 1, 10.0)


async def test_the_same_word_again_changes_nothing(api: Sidecar, experiment: str) -> None:
    call_id = await stored(api, experiment)
    status, first = await give(api, call_id, label="maybe", **AUDIT)
    again, second = await give(api, call_id, label="maybe", **AUDIT)
    assert (status, again, first) == (201, 200, second)
    assert (await cell(api, experiment)).audit.labelled == 1


async def test_a_word_said_at_once_by_one_reviewer_is_kept_once(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    found = await asyncio.gather(
        *(give(api, call_id, label="maybe", **AUDIT) for _ in range(4))
    )
    assert sorted(status for status, _ in found) == [200, 200, 200, 201]


async def test_a_reviewers_second_word_supersedes_the_first_and_both_are_kept(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    _, first = await give(api, call_id, label="maybe", **AUDIT)
    _, second = await give(api, call_id, label="relevant", **AUDIT)
    assert second["supersedes"] == first["id"]
    history = (await api.admin.get("/v1/feedback", params={"call_id": call_id})).json()
    assert [item["is_current"] for item in history["items"]] == [False, True]
    audit = (await cell(api, experiment)).audit
    assert (audit.labelled, audit.agree) == (1, 1)


async def test_a_second_reviewer_never_moves_a_metric(api: Sidecar, experiment: str) -> None:
    call_id = await stored(api, experiment)
    await give(api, call_id, label="maybe", **AUDIT)
    before = await cell(api, experiment)
    await give(api, call_id, label="relevant", source="audit", reviewer="bob")
    assert await cell(api, experiment) == before
    # The first one's place is kept when they change their mind after the second spoke.
    await give(api, call_id, label="irrelevant", **AUDIT)
    assert ("relevant", "irrelevant") in (await cell(api, experiment)).confusion


async def test_a_correction_is_counted_and_never_tested(api: Sidecar, experiment: str) -> None:
    call_id = await stored(api, experiment)
    status, _ = await give(api, call_id, label="maybe", **CORRECTION)
    found = await cell(api, experiment)
    assert status == 201
    assert (found.count("corrections"), found.audit.labelled) == (1, 0)


async def test_a_word_asked_for_by_the_queue_and_one_that_compares_texts_count_nowhere(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    other = await stored(api, experiment)
    async with transaction(api.app.state.context.engine) as tx:
        request = b'{"messages":[{"role":"user","content":"a post"}]}'
        await tx.execute(text("UPDATE calls SET request = :request"), {"request": request})
    before = await cell(api, experiment)
    for body in (
        {"label": "maybe", "source": "review"},
        {"name": "score", "value": 1, "source": "review"},
        {"comment": "odd", "source": "audit"},
        {"comment": "odd"},
        {"pair": {"chosen": "a", "rejected": "b"}, "source": "audit"},
        {"over": other, "source": "audit"},
    ):
        status, _ = await give(api, call_id, reviewer="ann", **body)
        assert status == 201
    assert await cell(api, experiment) == before
    audits = (await api.admin.get(f"/v1/experiments/{experiment}/audits")).json()["items"]
    assert [item["call_id"] for item in audits] == [call_id, other]  # still wait


async def test_an_audit_of_a_call_that_was_not_drawn_is_refused(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment, is_drawn=False)
    status, problem = await give(api, call_id, label="maybe", **AUDIT)
    assert status == 409
    assert "not drawn" in problem["detail"]
    assert (await cell(api, experiment)).audit.labelled == 0


async def test_values_are_summed_by_name(api: Sidecar, experiment: str) -> None:
    draft = {"task": "draft", "label": None, "confidence": None}
    for approved, score in ((True, 0.5), (False, 2)):
        call_id = await stored(api, experiment, **draft)
        await give(api, call_id, approved=approved, **AUDIT)
        await give(api, call_id, name="score", value=score, **AUDIT)
    found = await cell(api, experiment)
    assert found.value_names == ["approved", "score"]
    assert (found.value("approved").n, found.value("approved").wv) == (2, 10.0)
    assert (found.value("score").v, found.value("score").u_w2) == (2.5, 400.0)


async def test_feedback_may_come_a_year_late(api: Sidecar, experiment: str) -> None:
    then = datetime.now(UTC) - timedelta(days=366)
    async with transaction(api.app.state.context.engine) as tx:
        await ensure_partitions(tx, [month_of(then)])
    call_id = await stored(api, experiment, call_id=new_id(then))
    status, _ = await give(api, call_id, label="maybe", **AUDIT)
    assert status == 201
    assert (await cell(api, experiment)).audit.labelled == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"label": "perhaps"}, "relevant, irrelevant, maybe"),
        ({"approved": "yes"}, "approved"),
        ({"name": "score", "value": "high"}, "value"),
        ({"name": "score"}, "name and value"),
        ({"value": 1}, "name and value"),
        ({"name": "approved", "value": 1}, "true or false"),
        ({"label": "maybe", "approved": True}, "label"),
        ({}, "give a label"),
        ({"label": "maybe", "source": "rumour"}, "source"),
        ({"label": "maybe", "reviewer": ""}, "reviewer"),
    ],
)
async def test_a_word_that_cannot_be_is_refused_and_says_what_could(
    api: Sidecar, experiment: str, body: dict[str, Any], says: str
) -> None:
    call_id = await stored(api, experiment)
    status, problem = await give(api, call_id, **{**AUDIT, **body})
    assert status == 422
    assert says in str(problem)


async def test_an_unknown_call_is_not_found_and_a_foreign_one_is_forbidden(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    assert (await give(api, new_id(datetime.now(UTC)), label="maybe", **AUDIT))[0] == 404
    assert (await give(api, "call-1", label="maybe", **AUDIT))[0] == 422
    async with api.client(await api.key(scopes=["review", "read"])) as other:
        body = {"call_id": call_id, "label": "maybe", **AUDIT}
        assert (await other.post("/v1/feedback", json=body)).status_code == 403
        params = {"call_id": call_id}
        assert (await other.get("/v1/feedback", params=params)).status_code == 403
        assert (await other.get(f"/v1/experiments/{experiment}/audits")).status_code == 404
    assert (await cell(api, experiment)).audit.labelled == 0


async def test_a_label_may_be_what_the_judge_could_answer_when_it_was_asked(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    async with transaction(api.app.state.context.engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO generations (number, hash, routes, published_at) "
                "SELECT 3, 'h', jsonb_set(routes, '{groups,judge,labels}', '[\"hot\"]'), now() "
                "FROM generations LIMIT 1 ON CONFLICT (number) DO UPDATE "
                "SET routes = excluded.routes"
            )
        )
    assert (await give(api, call_id, label="Hot", **AUDIT))[0] == 201
    assert (await give(api, call_id, label="maybe", **AUDIT))[0] == 422


async def test_audits_are_listed_blind_and_oldest_first(api: Sidecar, experiment: str) -> None:
    now = datetime.now(UTC)
    calls = [
        Made(call_id=new_id(now - timedelta(minutes=minutes)), experiment_id=experiment)
        for minutes in (1, 3, 2)
    ]
    calls.append(replace(calls[0], call_id=new_id(now), is_drawn=False))
    async with transaction(api.app.state.context.engine) as tx:
        await store(tx, calls)
    await give(api, calls[2].call_id, label="maybe", **AUDIT)
    await give(api, calls[1].call_id, label="maybe", **CORRECTION)  # decides no audit
    answer = await api.admin.get(f"/v1/experiments/{experiment}/audits")
    items = answer.json()["items"]
    assert [item["call_id"] for item in items] == [calls[1].call_id, calls[0].call_id]
    assert items[0]["request"] == {"model": "judge", "messages": []}
    assert not any(word in answer.text for word in ("arm", "relevant", "judge-a", "answered"))


async def test_a_verification_names_what_differs_and_a_repair_mends_it(
    api: Sidecar, experiment: str
) -> None:
    call_id = await stored(api, experiment)
    await give(api, call_id, label="maybe", **AUDIT)
    async with transaction(api.app.state.context.engine) as tx:
        await tx.execute(text("UPDATE totals SET value = 5 WHERE name = 'calls'"))
    verified = (await api.admin.get(f"/v1/experiments/{experiment}/verify")).json()
    names = {
        item["name"]: (item["stored"], item["recounted"]) for item in verified["differences"]
    }
    assert names == {"calls": (5, 1)}
    path = f"/v1/experiments/{experiment}/verify"
    assert (await api.admin.post(path)).json()["repaired"] is True
    assert (await api.admin.get(path)).json()["differences"] == []
