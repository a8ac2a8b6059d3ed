"""Which words may be said of a call, by which id, and how often?"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from sidecar.core.calls import Answer
from sidecar.store.database import transaction
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.drafts import draft_record, drain_records
from tests.records import judge_record

TEXT = "Thank you.\nWe will look. 🇨🇭 \x00\ud800"  # as a model may write it
ANN = {"reviewer": "ann"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def draft(api: Sidecar, folder: Path, **more: Any) -> str:
    """Store an answered drafter's call."""
    record = draft_record(datetime.now(UTC), **{"text": TEXT, **more})
    [call_id] = await drain_records(api.app.state.context.engine, folder, [record])
    return call_id


async def say(api: Sidecar, call_id: str, **body: Any) -> httpx.Response:
    # Not `json=`, which cannot write half of a surrogate pair.
    content = json.dumps({"call_id": call_id, **ANN, **body})
    headers = {"content-type": "application/json"}
    return await api.admin.post("/v1/feedback", content=content, headers=headers)


async def said(api: Sidecar, call_id: str) -> dict[str, Any]:
    """Fetch all that was said of a call, and what became of the draft."""
    answer = await api.admin.get("/v1/feedback", params={"call_id": call_id})
    return dict(answer.raise_for_status().json())


async def test_a_drafts_life_is_told_with_the_text_that_holds(
    api: Sidecar, folder: Path
) -> None:
    call_id = await draft(api, folder)
    told = [(await said(api, call_id))["draft"]]
    for body in (
        {"approved": True},
        {"edit": "Thank you. We look."},
        {"edit": "We look. 🤔"},
        {"name": "sent", "value": True},
    ):
        assert (await say(api, call_id, **body)).status_code == 201
        told.append((await said(api, call_id))["draft"])
    assert told == [
        {"state": "generated", "final": None},
        {"state": "approved", "final": TEXT},
        {"state": "edited", "final": "Thank you. We look."},
        {"state": "edited", "final": "We look. 🤔"},
        {"state": "sent", "final": "We look. 🤔"},
    ]
    history = (await said(api, call_id))["items"]
    assert [(item["kind"], item["is_current"]) for item in history] == [
        ("approve", False),
        ("edit", False),
        ("edit", True),
        ("flag", True),
    ]
    assert [item["supersedes"] for item in history[1:3]] == [item["id"] for item in history[:2]]


async def test_every_kind_of_word_is_kept_as_it_was_said(api: Sidecar, folder: Path) -> None:
    call_id, other = await draft(api, folder), await draft(api, folder)
    first, second = sorted((call_id, other))
    bodies: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            {"approved": False, "better": "No.", "comment": "too long"},
            {"kind": "reject", "text": "No.", "value": False, "comment": "too long"},
        ),
        (
            {"name": "score", "value": 0.5},
            {"kind": "score", "name": "score", "value": 0.5},
        ),
        ({"comment": "hm"}, {"kind": "comment", "name": "comment", "comment": "hm"}),
        (
            {"pair": {"chosen": " a\r\n", "rejected": "b"}},
            {"kind": "pair", "text": " a\r\n", "rejected": "b", "value": None},
        ),
        (
            {"over": other.upper()},
            {
                "kind": "choice",
                "call_id": first,
                "other_call_id": second,
                "value": 1 if first == call_id else 0,
            },
        ),
    ]
    for body, kept in bodies:
        answer = await say(api, call_id, **body)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert {name: found[name] for name in kept} == kept
        assert found["source"] == "correction"  # unless told otherwise


async def test_a_choice_turned_round_supersedes_the_one_before(
    api: Sidecar, folder: Path
) -> None:
    call_id, other = await draft(api, folder), await draft(api, folder)
    first = (await say(api, call_id, over=other)).json()
    turned = (await say(api, other, over=call_id)).json()
    tie = (await say(api, call_id, tie_with=other)).json()
    assert (turned["supersedes"], tie["supersedes"]) == (first["id"], turned["id"])
    assert {first["value"], turned["value"], tie["value"]} == {0, 1, 0.5}
    histories = [await said(api, each) for each in (call_id, other)]
    assert [len(found["items"]) for found in histories] == [3, 3]  # it is said of both


async def test_answers_to_different_prompts_cannot_be_compared(
    api: Sidecar, folder: Path
) -> None:
    call_id, other = await draft(api, folder), await draft(api, folder, post="another")
    for body in ({"over": other}, {"tie_with": other}):
        assert (await say(api, call_id, **body)).status_code in (409, 422)
    assert (await say(api, call_id, over=call_id)).status_code == 422
    assert (await said(api, call_id))["items"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"edit": "As it was."}, "approved: true"),
        ({"edit": "x" * 5_000_000}, "5,000,000 bytes"),
        ({"approved": False, "better": "x" * 5_000_000}, "5,000,000 bytes"),
        ({"pair": {"chosen": "x" * 5_000_000, "rejected": "b"}}, "5,000,000 bytes"),
        ({"edit": "a\x00b"}, "NUL"),
        ({"edit": "a\ud800b"}, "surrogate"),
        ({"edit": " \n"}, "blank"),
        ({"approved": True, "better": "b"}, "no better text"),
        ({"label": "relevant"}, "no judge's"),
        ({"edit": "b", "approved": False}, "exactly one"),
        ({"pair": {"chosen": "a"}}, "rejected"),
        ({"over": "call-1"}, "no call id"),
        ({"response_id": "r", "approved": True}, "not both"),
        ({"edit": "b", "unit": "u"}, "unit"),
    ],
)
async def test_a_word_that_cannot_be_is_refused_and_never_quoted_at_length(
    api: Sidecar, folder: Path, body: dict[str, Any], says: str
) -> None:
    call_id = await draft(api, folder, text="As it was.")
    answer = await say(api, call_id, **body)
    assert answer.status_code == 422, answer.text
    assert says in answer.text
    assert len(answer.text) < 2_000
    assert (await said(api, call_id))["items"] == []


async def test_a_judges_call_takes_no_word_of_a_drafts(api: Sidecar, folder: Path) -> None:
    record = judge_record(datetime.now(UTC))
    [call_id] = await drain_records(api.app.state.context.engine, folder, [record])
    for body in ({"approved": True}, {"approved": False}, {"edit": "maybe"}):
        answer = await say(api, call_id, **body)
        assert (answer.status_code, "a judge's" in answer.text) == (422, True)
    assert (await said(api, call_id))["draft"] is None


async def test_a_call_is_named_by_the_id_its_answer_bore(api: Sidecar, folder: Path) -> None:
    call_id = await draft(api, folder, response_id="chatcmpl-1")
    foreign = draft_record(datetime.now(UTC), response_id="chatcmpl-1", project_id="other")
    unique = draft_record(datetime.now(UTC), response_id="chatcmpl-2", project_id="other")
    await drain_records(api.app.state.context.engine, folder, [foreign, unique])
    key = await api.key(project_id="default", scopes=["review"])
    body = {"response_id": "chatcmpl-1", "approved": True, **ANN}
    async with api.client(key) as ours:
        found = await ours.post("/v1/feedback", json=body)
        assert (found.status_code, found.json()["call_id"]) == (201, call_id)
        unseen = await ours.post("/v1/feedback", json={**body, "response_id": "chatcmpl-2"})
        assert unseen.status_code == 404
    ambiguous = await api.admin.post("/v1/feedback", json=body)  # the admin sees both
    assert (ambiguous.status_code, "call_id" in ambiguous.json()["detail"]) == (409, True)


async def test_a_key_gives_back_its_word_even_when_it_was_superseded_since(
    api: Sidecar, folder: Path
) -> None:
    call_id = await draft(api, folder)
    first = await say(api, call_id, edit="One.", key="k-1")
    await say(api, call_id, edit="Two.", key="k-2")
    again = await say(api, call_id, edit="One.", key="k-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "is_current": False}
    assert (await said(api, call_id))["draft"]["final"] == "Two."
    for body in ({"edit": "Three."}, {"edit": "One.", "comment": "why"}):
        other = await say(api, call_id, key="k-1", **body)
        assert (other.status_code, "k-1" in other.json()["detail"]) == (409, True)
    assert len((await said(api, call_id))["items"]) == 2


async def test_a_key_is_remembered_of_a_word_that_says_nothing_new(
    api: Sidecar, folder: Path
) -> None:
    call_id = await draft(api, folder)
    await say(api, call_id, edit="One.")
    kept = await say(api, call_id, edit="One.", key="k-1")
    await say(api, call_id, edit="Two.")
    late = await say(api, call_id, edit="One.", key="k-1")
    assert (kept.status_code, late.status_code) == (201, 200)
    assert (await said(api, call_id))["draft"]["final"] == "Two."


async def test_a_key_belongs_to_its_project(api: Sidecar, folder: Path) -> None:
    mine = await draft(api, folder)
    other = await draft(api, folder, project_id="other")
    for call_id in (mine, other):
        assert (await say(api, call_id, approved=True, key="k-1")).status_code == 201


async def test_one_key_sent_for_two_calls_at_once_is_kept_for_one(
    api: Sidecar, folder: Path
) -> None:
    records = [draft_record(datetime.now(UTC), TEXT) for _ in range(6)]
    engine = api.app.state.context.engine
    calls = await drain_records(engine, folder, records)
    for key in (f"k-{number}" for number in range(5)):
        found = await asyncio.gather(
            *(say(api, call_id, edit=f"for {key}", key=key) for call_id in calls)
        )
        assert sorted(each.status_code for each in found) == [201, *[409] * 5]
    async with transaction(engine) as tx:
        counted = await tx.execute(text("SELECT count(*), count(DISTINCT key) FROM feedback"))
    assert tuple(counted.one()) == (5, 5)


async def test_different_words_of_one_reviewer_at_once_leave_one_that_stands(
    api: Sidecar, folder: Path
) -> None:
    call_id = await draft(api, folder)
    found = await asyncio.gather(
        *(say(api, call_id, edit=f"Text {number}.") for number in range(6))
    )
    assert {each.status_code for each in found} == {201}
    history = (await said(api, call_id))["items"]
    assert [item["is_current"] for item in history] == [False] * 5 + [True]
    ids = [item["id"] for item in history]
    assert [item["supersedes"] for item in history] == [None, *ids[:-1]]


async def test_an_answer_without_a_text_may_be_edited(api: Sidecar, folder: Path) -> None:
    call_id = await draft(api, folder, answer=Answer(tool_calls=({"id": "call_1"},)))
    assert (await say(api, call_id, edit="One.")).status_code == 201
    assert (await said(api, call_id))["draft"] == {"state": "edited", "final": "One."}
