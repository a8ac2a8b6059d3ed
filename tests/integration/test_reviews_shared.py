"""What do several reviewers at once get, and what of calls that two are to label?"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sidecar.api.deps import _now
from sidecar.core.reviewing import LOCKED_FOR, SKIPPED_FOR, is_double
from sidecar.store import reviews as store
from sidecar.store.database import transaction
from sidecar.store.reviews import Asking
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.controlled import Clock
from tests.integration.test_reviews import drafts, drawn, following, handed, said

REVIEWERS = [f"reviewer-{number}" for number in range(8)]
LABELS = ("relevant", "irrelevant", "maybe")
LOCKED_S = LOCKED_FOR.total_seconds()


@pytest.fixture
async def api(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge(), review_double=0.0) as found:
        found.app.dependency_overrides[_now] = clock
        yield found


@pytest.fixture
async def experiment(api: Sidecar) -> str:
    return str((await api.experiment())["id"])


def double(api: Sidecar, share: float) -> None:
    """Have a share of the drawn calls labelled by two people."""
    api.app.state.context.review_double = share


async def all_of(api: Sidecar, reviewer: str) -> list[str]:
    """Answer whatever a reviewer is handed, until nothing waits."""
    seen = []
    while (item := (await following(api, reviewer))["item"]) is not None:
        seen.append(item["call_id"])
        word = {"label": "maybe"} if item["labels"] else {"approved": True}
        status, found = await said(api, item["call_id"], reviewer, **word)
        assert status == 201, found
    return seen


async def test_eight_reviewers_at_once_are_handed_each_call_once(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    calls = await drawn(api, experiment, 120)
    calls += await drafts(api, tmp_path, *(f"draft {number}" for number in range(80)))
    seen = await asyncio.gather(*(all_of(api, reviewer) for reviewer in REVIEWERS))
    # Who comes while another takes a call may be told that nothing waits, and asks again.
    seen += [await all_of(api, "last")]
    counted = Counter(call_id for each in seen for call_id in each)
    assert counted == dict.fromkeys(calls, 1)
    assert sum(1 for each in seen if each) > 1


async def test_reviewers_who_only_ask_are_never_handed_the_same_call(
    api: Sidecar, experiment: str
) -> None:
    calls = await drawn(api, experiment, 8)
    found = await asyncio.gather(*(handed(api, reviewer) for reviewer in REVIEWERS))
    assert sorted(str(each) for each in found) == calls
    assert await handed(api, "late") is None
    again = await asyncio.gather(*(handed(api, reviewer) for reviewer in REVIEWERS))
    assert again == found


async def test_a_call_comes_back_when_its_reviewer_was_killed(
    api: Sidecar, experiment: str, clock: Clock
) -> None:
    [call] = await drawn(api, experiment)
    found = await following(api)
    assert found["locked_until"] == (clock() + LOCKED_FOR).isoformat()
    clock.forward(seconds=LOCKED_S - 1)
    assert await handed(api, "bob") is None
    clock.forward(seconds=1)
    assert await handed(api, "bob") == call
    assert await handed(api) is None


async def test_who_is_late_is_told_who_has_the_call_or_has_answered_it(
    api: Sidecar, experiment: str, clock: Clock
) -> None:
    [call] = await drawn(api, experiment)
    await handed(api)
    clock.forward(seconds=LOCKED_S)
    assert await handed(api, "bob") == call
    status, found = await said(api, call, label="maybe")
    assert (status, "'bob'" in found["detail"]) == (409, True)
    assert (await said(api, call, skip=True))[0] == 409
    assert (await said(api, call, "bob", label="relevant"))[0] == 201
    status, found = await said(api, call, label="maybe")
    assert (status, "answered by 'bob'" in found["detail"]) == (409, True)
    history = (await api.admin.get("/v1/feedback", params={"call_id": call})).json()
    assert [each["reviewer"] for each in history["items"]] == ["bob"]


async def test_who_is_late_may_still_answer_what_nobody_else_was_handed(
    api: Sidecar, experiment: str, clock: Clock
) -> None:
    [call] = await drawn(api, experiment)
    await handed(api)
    clock.forward(hours=3)
    assert (await said(api, call, label="maybe"))[0] == 201


async def test_what_was_skipped_goes_to_others_and_comes_back_after_a_day(
    api: Sidecar, tmp_path: Path, clock: Clock
) -> None:
    [call] = await drafts(api, tmp_path, "hard")
    await handed(api)
    status, found = await said(api, call, skip=True)
    assert (status, found) == (200, {"call_id": call, "feedback": None, "is_new": False})
    assert await handed(api) is None
    assert await handed(api, "bob") == call
    clock.forward(seconds=SKIPPED_FOR.total_seconds())
    assert await handed(api) == call


async def test_an_answer_and_a_request_at_once_never_hand_out_what_is_answered(
    api: Sidecar, tmp_path: Path
) -> None:
    for number in range(10):
        [call] = await drafts(api, tmp_path, f"draft {number}")
        assert await handed(api) == call
        (status, _), other = await asyncio.gather(
            said(api, call, approved=True), handed(api, "bob")
        )
        assert (status, other) == (201, None)


async def test_a_share_is_labelled_by_two_people_who_differ(
    api: Sidecar, experiment: str
) -> None:
    double(api, 0.5)
    calls = await drawn(api, experiment, 30)
    twice = [call for call in calls if is_double(call, 0.5)]
    assert 0 < len(twice) < 30
    assert await all_of(api, "ann") == calls
    assert await all_of(api, "bob") == twice
    assert await all_of(api, "cy") == []


async def test_the_database_draws_who_is_labelled_twice_as_the_core_does(
    api: Sidecar, experiment: str, clock: Clock
) -> None:
    calls = await drawn(api, experiment, 200)
    asking = Asking("bob", None, None, 0.0, clock())
    async with transaction(api.app.state.context.engine) as tx:
        label = (
            "INSERT INTO feedback (call_id, started_at, project_id, kind, name, source, "
            "reviewer, label, is_boolean, at, actor, is_current) SELECT call_id, started_at, "
            "project_id, 'label', 'label', 'audit', 'ann', 'maybe', false, started_at, 'a', "
            "true FROM calls"
        )
        await tx.execute(text(label))
        for share in (0.0, 0.03, 0.4, 1.0):
            asking = Asking("bob", None, None, share, clock())
            expected = [call for call in calls if is_double(call, share)]
            assert await store.audits(tx, asking, 500) == expected


async def test_one_who_changes_their_mind_takes_no_call_from_the_second(
    api: Sidecar, experiment: str
) -> None:
    double(api, 1.0)
    [call] = await drawn(api, experiment)
    await handed(api)
    await said(api, call, label="maybe")
    assert await handed(api, "bob") == call
    assert (await said(api, call, label="relevant"))[0] == 201
    assert await handed(api, "cy") is None
    assert (await said(api, call, "bob", label="relevant"))[0] == 201


async def test_agreement_is_told_by_pair_and_over_all(
    api: Sidecar, experiment: str, tmp_path: Path
) -> None:
    async def agreement(**params: Any) -> dict[str, Any]:
        answer = await api.admin.get("/v1/reviews/agreement", params=params)
        return dict(answer.raise_for_status().json())

    nothing = {"n": 0, "pairs": [], "fleiss": None, "is_cut": False}
    assert await agreement() == nothing
    double(api, 1.0)
    for number, call in enumerate(await drawn(api, experiment, 12)):
        await handed(api)
        await said(api, call, label=LABELS[number % 3])
        await handed(api, "bob")
        await said(api, call, "bob", label=LABELS[number % 3 if number > 2 else 0])
    [single] = await drawn(api, experiment)
    await handed(api)
    await said(api, single, label="maybe")
    found = await agreement(group="judge")
    [pair] = found["pairs"]
    assert (found["n"], pair["reviewers"], pair["n"]) == (12, ["ann", "bob"], 12)
    assert pair["observed"] == pytest.approx(10 / 12)
    # By hand: ann 4, 4, 4 of the labels, bob 6, 3, 3; by chance 4 of 12 agree.
    assert pair["kappa"]["value"] == pytest.approx((10 / 12 - 1 / 3) / (1 - 1 / 3))
    assert pair["kappa"]["low"] < pair["kappa"]["value"] < pair["kappa"]["high"]
    assert found["fleiss"]["value"] < pair["kappa"]["value"]
    assert await agreement(group="another") == nothing
    async with api.client(await api.key()) as client:
        assert (await client.get("/v1/reviews/agreement")).json() == nothing
