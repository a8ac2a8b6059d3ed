"""Is every word kept once, and nothing half, whatever clients and machines do?"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.errors import Unavailable
from sidecar.store import feedback
from sidecar.store.database import create_engine, transaction
from sidecar.store.migrate import migrate
from sidecar.up.postgres import EmbeddedPostgres
from tests.apis import Sidecar, sidecar, until
from tests.configurations import judge
from tests.drafts import draft_record, drain_records
from tests.measured import Made, new_id, store

Rows = Callable[[str], Awaitable[list[Any]]]
PATH = "/v1/feedback"
LABELS = ("relevant", "irrelevant", "maybe")
REVIEWERS = ("ann", "bob", "cat")


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
def engine(api: Sidecar) -> AsyncEngine:
    found: AsyncEngine = api.app.state.context.engine
    return found


async def drafts(engine: AsyncEngine, folder: Path, number: int, posts: int) -> list[str]:
    """Store answered drafts; those whose places differ by `posts` have one prompt."""
    now = datetime.now(UTC)
    records = [
        draft_record(now, f"text {place}", f"post {place % posts}") for place in range(number)
    ]
    return await drain_records(engine, folder, records)


async def send(api: Sidecar, items: list[dict[str, Any]]) -> httpx.Response:
    return await api.admin.post(PATH, json={"items": items})


@pytest.mark.parametrize(
    "value", [10**400, "1e400", "NaN"], ids=["many digits", "infinite", "no number"]
)
async def test_a_number_that_nothing_can_hold_costs_the_others_nothing(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path, value: object
) -> None:
    [call_id] = await drafts(engine, tmp_path, 1, 1)
    plain = {"call_id": call_id, "reviewer": "ann"}
    word = f'{json.dumps(plain)[:-1]}, "name": "score", "value": {value}}}'
    headers = {"content-type": "application/json"}
    one = await api.admin.post(PATH, content=word, headers=headers)
    assert (one.status_code, len(one.text) < 500) == (422, True)
    good = json.dumps({**plain, "approved": True})
    body = f'{{"items": [{word}, {good}]}}'
    many = await api.admin.post(PATH, content=body, headers=headers)
    assert (many.json()["kept"], many.json()["items"][0]["problem"]["status"]) == (1, 422)


async def test_what_was_said_of_a_deleted_call_is_still_told_to_its_own_project(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    gone, other = sorted(await drafts(engine, tmp_path, 2, 1))
    said = {"call_id": gone, "reviewer": "ann"}  # a choice is kept with the first call
    for word in ({"edit": "So."}, {"approved": False}, {"over": other}):
        (await api.admin.post(PATH, json={**said, **word})).raise_for_status()
    async with transaction(engine) as tx:
        await tx.execute(text("DELETE FROM calls WHERE call_id = :gone"), {"gone": gone})
    found = (await api.admin.get(PATH, params={"call_id": gone})).raise_for_status().json()
    assert [word["kind"] for word in found["items"]] == ["edit", "reject", "choice"]
    assert found["draft"] is None
    async with api.client(await api.key(project_id="default")) as ours:
        assert (await ours.get(PATH, params={"call_id": gone})).status_code == 200
    async with api.client(await api.key(project_id="other")) as theirs:
        assert (await theirs.get(PATH, params={"call_id": gone})).status_code == 403
    unknown = {"call_id": new_id(datetime.now(UTC))}
    assert (await api.admin.get(PATH, params=unknown)).status_code == 404
    pages = ["/v1/preferences", "/v1/preferences/summary", "/v1/reviews/agreement?of=choices"]
    for page in (*pages, "/v1/reviews/next?reviewer=ann"):
        assert (await api.admin.get(page)).status_code == 200, page


async def test_batches_with_the_same_keys_in_other_orders_do_not_block_each_other(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path
) -> None:
    calls = await drafts(engine, tmp_path, 1500, 1500)
    for turn in range(3):
        keys = [f"{turn}-{place}" for place in range(500)]
        orders = keys, keys[::-1], keys[250:] + keys[:250]
        batches = [
            [
                {"call_id": call_id, "reviewer": f"{turn}", "edit": "x" * 3000, "key": key}
                for call_id, key in zip(calls[500 * place :], order, strict=False)
            ]
            for place, order in enumerate(orders)
        ]
        answers = await asyncio.gather(*(send(api, batch) for batch in batches))
        assert [answer.status_code for answer in answers] == [200] * 3
        # A key that came with another word is refused; each is kept with one of the three.
        assert sum(answer.json()["kept"] for answer in answers) == len(keys)


async def test_who_waits_for_all_writers_waits_for_the_ids_that_were_taken(
    engine: AsyncEngine,
) -> None:
    lock = text("LOCK TABLE feedback IN SHARE MODE NOWAIT")  # as a dataset's build does
    async with transaction(engine) as tx:
        taken = await feedback.take_ids(tx, 3)
        assert len(set(taken)) == 3
        with pytest.raises(Unavailable, match="55P03"):
            async with transaction(engine) as other:
                await other.execute(lock)
    async with transaction(engine) as tx:
        await tx.execute(lock)


class Crowd:
    """People who say anything at all of the same calls, all at once."""

    def __init__(self, api: Sidecar, drafted: list[str], judged: list[Made]) -> None:
        self.api = api
        self.drafted = drafted
        self.judged = judged
        self.dice = random.Random(7)  # noqa: S311

    def word(self) -> dict[str, Any]:
        """Say something; it may be refused."""
        plain = {"reviewer": self.dice.choice(REVIEWERS)}
        if self.dice.random() < 0.5:
            plain["key"] = f"key-{self.dice.randrange(300)}"
        return plain | (self._of_a_draft() if self.dice.random() < 0.6 else self._of_a_judge())

    def _of_a_draft(self) -> dict[str, Any]:
        call_id, other = self.dice.sample(self.drafted, 2)
        return {"call_id": call_id} | self.dice.choice(
            [
                {"edit": f"edit {self.dice.randrange(4)}"},
                {"approved": True},
                {"approved": False},
                {"approved": False, "better": "Better."},
                {"over": other},
                {"tie_with": other},
                {"name": "sent", "value": True},
            ]
        )

    def _of_a_judge(self) -> dict[str, Any]:
        made, other = self.dice.sample(self.judged, 2)
        sources = ["correction", "review"] + ["audit"] * 3 * made.is_drawn
        return {"call_id": made.call_id, "source": self.dice.choice(sources)} | (
            self.dice.choice(
                [
                    {"label": self.dice.choice(LABELS)},
                    {"name": "score", "value": self.dice.random()},
                    {"name": "flag", "value": self.dice.random() < 0.5},
                    {"comment": f"comment {self.dice.randrange(9)}"},
                    {"over": other.call_id},
                    {"pair": {"chosen": "a", "rejected": "b"}},
                ]
            )
        )

    async def one(self) -> list[int]:
        return [(await self.api.admin.post(PATH, json=self.word())).status_code]

    async def many(self) -> list[int]:
        answer = await send(self.api, [self.word() for _ in range(100)])
        items = answer.json()["items"]
        return [item["problem"]["status"] if "problem" in item else 200 for item in items]

    async def reviewing(self, reviewer: str) -> list[int]:
        """Answer five calls of the queue."""
        seen = []
        for _ in range(5):
            asked = {"reviewer": reviewer}
            found = await self.api.admin.get("/v1/reviews/next", params=asked)
            seen.append(found.status_code)
            item = found.json()["item"]
            if item is not None:
                word = {"label": "maybe"} if item["labels"] else {"edit": "Reviewed."}
                said = {"call_id": item["call_id"], **asked, **word}
                seen.append((await self.api.admin.post("/v1/reviews", json=said)).status_code)
        return seen


# Of a slot one word is current, each superseded word has one successor, and each edit has
# its pair, or the reason why it has none.
WRONG = {
    "several current": "SELECT call_id FROM feedback WHERE is_current "
    "GROUP BY call_id, name, source, reviewer HAVING count(*) > 1",
    "superseded twice": "SELECT supersedes FROM feedback WHERE supersedes IS NOT NULL "
    "GROUP BY supersedes HAVING count(*) > 1",
    "lost": "SELECT id FROM feedback f WHERE NOT is_current AND NOT EXISTS "
    "(SELECT FROM feedback o WHERE o.supersedes = f.id)",
    "key twice": "SELECT key FROM feedback WHERE key IS NOT NULL "
    "GROUP BY project_id, key HAVING count(*) > 1",
    "no pair": "SELECT id FROM feedback f WHERE kind = 'edit' AND NOT EXISTS "
    "(SELECT FROM pair_grounds g WHERE g.feedback_id = f.id) AND NOT EXISTS "
    "(SELECT FROM refused_pairs r WHERE r.feedback_id = f.id)",
    "no grounds": "SELECT id FROM pairs p WHERE NOT EXISTS "
    "(SELECT FROM pair_grounds g WHERE g.pair_id = p.id)",
}


async def test_a_crowd_leaves_exact_totals_and_nothing_half_done(
    api: Sidecar, engine: AsyncEngine, tmp_path: Path, rows: Rows
) -> None:
    experiment = str((await api.experiment())["id"])
    judged = [
        Made(experiment_id=experiment, unit_id=f"u-{place}", is_drawn=place % 2 == 0)
        for place in range(30)
    ]
    async with transaction(engine) as tx:
        await store(tx, judged)
    crowd = Crowd(api, await drafts(engine, tmp_path, 40, 5), judged)
    for _ in range(3):
        seen = await asyncio.gather(
            *(crowd.one() for _ in range(12)),
            *(crowd.many() for _ in range(3)),
            *(crowd.reviewing(reviewer) for reviewer in ("ann", "ann", "bob")),
        )
        assert {status for each in seen for status in each} <= {200, 201, 409, 422}
    found = {name: await rows(wrong) for name, wrong in WRONG.items()}
    assert {name for name in found if found[name]} == set(), found
    verified = await api.admin.get(f"/v1/experiments/{experiment}/verify")
    assert verified.raise_for_status().json()["differences"] == []


async def test_words_sent_again_after_the_database_was_killed_are_kept_once(
    embedded: EmbeddedPostgres, tmp_path: Path
) -> None:
    with embedded:
        engine = create_engine(embedded.dsn)
        await migrate(engine, now=datetime.now(UTC))
        calls = await drafts(engine, tmp_path, 600, 50)
        batches = [
            [
                {"call_id": call_id, "reviewer": "ann", "edit": f"{call_id}!", "key": call_id}
                for call_id in calls[first : first + 100]
            ]
            for first in range(0, len(calls), 100)
        ]
        async with sidecar(embedded.dsn, tmp_path, judge()) as api:
            sending = [asyncio.create_task(send(api, batch)) for batch in batches]
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            os.kill(embedded.pid or 0, signal.SIGKILL)
            seen = {(await task).status_code for task in sending}
            assert seen <= {200, 503}

            async def is_kept() -> bool:
                answers = [await send(api, batch) for batch in batches]
                return all(answer.status_code == 200 for answer in answers)

            await until(is_kept)
            again = [(await send(api, batch)).json() for batch in batches]
        kept = [item for answer in again for item in answer["items"]]
        assert [item["is_new"] for item in kept] == [False] * len(calls)
        async with transaction(engine) as tx:
            for table in ("feedback", "pairs", "pair_grounds"):
                found = await tx.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
                assert found.scalar_one() == len(calls), table
        await engine.dispose()
