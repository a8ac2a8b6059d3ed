"""Does every pair come to be exactly once, whoever speaks at the same time?"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.people import People, said

Rows = Callable[[str], Awaitable[list[Any]]]
ROUNDS = 15


@pytest.fixture
def people(engine: AsyncEngine, tmp_path: Path, now: datetime) -> People:
    return People(engine, tmp_path, now)


def request(post: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"post {post}"}]}


@pytest.mark.parametrize(
    "better", [{"approved": True}, {"edit": "Be welcome."}], ids=["an approval", "an edit"]
)
async def test_a_rejection_and_a_better_text_at_once_give_exactly_one_pair(
    people: People, better: dict[str, Any], rows: Rows
) -> None:
    for post in range(ROUNDS):
        bad = await people.draft("Go away.", request=request(post))
        good = await people.draft("Welcome.", request=request(post))
        await asyncio.gather(people.say(bad, approved=False), people.say(good, "bob", **better))
    counts = "SELECT count(*), count(DISTINCT prompt_hash) FROM pairs"
    assert await rows(f"{counts} WHERE rejected = '\"Go away.\"'") == [(ROUNDS, ROUNDS)]
    assert (await people.summary()).unpaired == 0


async def test_two_good_texts_at_once_pair_a_rejected_one_once(
    people: People, rows: Rows
) -> None:
    for post in range(ROUNDS):
        texts = ("Go away.", "Welcome.", "Hello.")
        bad, *good = [await people.draft(text, request=request(post)) for text in texts]
        await people.say(bad, approved=False)
        await asyncio.gather(*(people.say(call_id, approved=True) for call_id in good))
    assert await rows("SELECT count(*) FROM pairs") == [(ROUNDS,)]


async def test_two_writers_of_one_pair_store_it_once_and_both_stand_for_it(
    people: People,
) -> None:
    reviewers = ("ann", "bob", "cat", "dan")
    for post in range(ROUNDS):
        calls = [await people.draft(request=request(post)) for _ in reviewers]
        await asyncio.gather(
            *(
                people.say(call_id, reviewer, pair=("Yes.", "No."))
                for call_id, reviewer in zip(calls, reviewers, strict=True)
            )
        )
    found = await people.pairs()
    assert len(found) == ROUNDS
    assert {len(pair.grounds) for pair in found} == {4}
    assert {pair.votes.for_it for pair in found} == {4}


async def test_batches_about_the_same_prompts_in_other_orders_do_not_block_each_other(
    people: People,
) -> None:
    texts = [f"text {number}" for number in range(60)]
    drafts = await people.drafts(texts)
    reviewers = ("ann", "bob", "cat", "dan")
    batches = [
        [said(call_id, reviewer, edit=f"{text}, better") for call_id, text in order]
        for reviewer, order in zip(
            reviewers,
            [list(zip(drafts, texts, strict=True))[:: (-1) ** turn] for turn in range(4)],
            strict=True,
        )
    ]
    await asyncio.gather(*(people.say_all(batch) for batch in batches))
    assert (await people.summary()).pairs == {"edit": 60}
    assert {pair.votes.for_it for pair in await people.pairs()} == {4}


async def test_a_batch_pairs_what_it_holds_itself(people: People) -> None:
    bad = await people.drafts(["Bad.", "Worse."], request=request(1))
    good = await people.drafts(["Good."], request=request(1))
    words = [said(call_id, approved=False) for call_id in bad]
    await people.say_all([*words, said(good[0], approved=True)])
    assert sorted(await people.current()) == [("Good.", "Bad."), ("Good.", "Worse.")]


async def test_a_mind_changed_within_a_batch_teaches_what_stands(people: People) -> None:
    [bad] = await people.drafts(["Bad."])
    await people.say_all([said(bad, approved=True), said(bad, edit="Good.")])
    assert await people.current() == [("Good.", "Bad.")]


async def test_more_words_take_no_more_statements(people: People) -> None:
    counted: list[str] = []

    def count(*values: Any) -> None:
        counted.append(values[2])

    drafts = await people.drafts([f"text {number}" for number in range(41)])
    event.listen(people.engine.sync_engine, "before_cursor_execute", count)
    await people.say_all([said(drafts[0], edit="Better.")])
    alone = len(counted)
    counted.clear()
    await people.say_all([said(call_id, edit="Better.") for call_id in drafts[1:]])
    assert len(counted) == alone


async def test_a_word_that_can_teach_nothing_reads_and_stores_nothing_more(
    people: People,
) -> None:
    counted: list[str] = []
    [draft] = await people.drafts(["text"])
    event.listen(
        people.engine.sync_engine,
        "before_cursor_execute",
        lambda *values: counted.append(values[2]),
    )
    await people.say(draft, name="clarity", value=0.5)
    await people.say(draft, comment="Hm.")
    tables = ("completions", "pairs", "pair_grounds", "refused_pairs", "unnest(CAST(:call_ids")
    assert [one for one in counted if any(table in one for table in tables)] == []
