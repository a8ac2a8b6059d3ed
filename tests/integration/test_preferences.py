"""What is learned from people's words, without anyone asking?"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import Answer
from sidecar.store.database import transaction
from tests.people import People
from tests.records import judge_record

Rows = Callable[[str], Awaitable[list[Any]]]


@pytest.fixture
def people(engine: AsyncEngine, tmp_path: Path, now: datetime) -> People:
    return People(engine, tmp_path, now)


async def test_an_edit_is_preferred_over_what_was_generated(people: People) -> None:
    call_id = await people.draft()
    await people.say(call_id, edit="Thank you, Ann. 🙏")
    [pair] = await people.pairs()
    assert (pair.chosen, pair.rejected) == ("Thank you, Ann. 🙏", "Thank you.")
    assert (pair.origin, pair.call_id, pair.group) == ("edit", call_id, "reply")
    assert (pair.chosen_model, pair.rejected_model) == (None, "drafter-1")
    assert pair.is_current
    assert (pair.votes.for_it, pair.votes.against) == (1, 0)


async def test_a_second_edit_supersedes_the_first_and_nothing_is_deleted(
    people: People,
) -> None:
    call_id = await people.draft()
    for final in ("First.", "Second."):
        await people.say(call_id, edit=final)
    assert await people.current() == [("Second.", "Thank you.")]
    assert [pair.is_current for pair in await people.pairs()] == [True, False]
    assert (await people.summary()).superseded == 1


async def test_a_draft_that_is_sent_after_it_was_edited_keeps_its_pair(people: People) -> None:
    call_id = await people.draft()
    await people.say(call_id, edit="Better.")
    await people.say(call_id, name="sent", value=True)
    assert await people.current() == [("Better.", "Thank you.")]


async def test_the_same_edit_said_again_after_another_counts_again(people: People) -> None:
    call_id = await people.draft()
    for final in ("First.", "Second.", "First."):
        await people.say(call_id, edit=final)
    assert await people.current() == [("First.", "Thank you.")]


async def test_a_rejection_with_a_better_text_gives_a_pair(people: People) -> None:
    await people.say(await people.draft(), approved=False, better="Better.", comment="dull")
    [pair] = await people.pairs()
    assert (pair.origin, pair.chosen) == ("rejection", "Better.")


async def test_a_rejected_text_waits_for_a_better_one_for_its_prompt(people: People) -> None:
    bad = await people.draft("Go away.")
    await people.say(bad, approved=False)
    await people.say(await people.draft("For another post.", "another"), approved=True)
    assert await people.pairs() == []
    assert (await people.summary()).unpaired == 1
    await people.say(
        await people.draft("Welcome.", provider_model="drafter-2"), "bob", approved=True
    )
    [pair] = await people.pairs()
    assert (pair.chosen, pair.rejected, pair.call_id) == ("Welcome.", "Go away.", bad)
    assert (pair.chosen_model, pair.rejected_model) == ("drafter-2", "drafter-1")
    assert (pair.origin, pair.votes.for_it) == ("rejection", 1)
    assert (await people.summary()).unpaired == 0
    # It is paired once: a third text gives no second pair.
    await people.say(await people.draft("Good day."), approved=True)
    assert len(await people.pairs()) == 1


async def test_a_rejected_text_is_paired_with_what_was_good_before(people: People) -> None:
    await people.say(await people.draft("Welcome."), edit="Be welcome.")
    await people.say(await people.draft("Go away."), approved=False)
    assert await people.current() == [
        ("Be welcome.", "Welcome."),
        ("Be welcome.", "Go away."),
    ]


async def test_a_pair_of_two_words_needs_both_of_them(people: People) -> None:
    bad, good = await people.draft("Go away."), await people.draft("Welcome.")
    await people.say(bad, approved=False)
    await people.say(good, "bob", approved=True)
    assert await people.current() == [("Welcome.", "Go away.")]
    await people.say(good, "bob", approved=False)
    assert await people.current() == []
    assert (await people.summary()).unpaired == 2
    # Both wait again, and the next good text is for both.
    await people.say(await people.draft("Hello."), approved=True)
    assert await people.current() == [("Hello.", "Go away."), ("Hello.", "Welcome.")]


async def test_another_group_or_project_lends_no_better_text(people: People) -> None:
    await people.say(await people.draft("Go away."), approved=False)
    await people.say(await people.draft("Welcome.", group="other"), approved=True)
    await people.say(await people.draft("Welcome.", project_id="other"), approved=True)
    assert await people.pairs() == []


async def test_choices_give_pairs_ties_and_conflicts(people: People) -> None:
    one, two = await people.draft("One."), await people.draft("Two.")
    await people.say(one, over=two)
    await people.say(two, "bob", over=one)
    await people.say(one, "cat", tie_with=two)
    assert sorted(await people.current()) == [("One.", "Two."), ("Two.", "One.")]
    found = await people.summary()
    assert (found.pairs, found.ties, found.conflicts) == ({"choice": 2}, 1, 1)
    assert [(p.votes.for_it, p.votes.against) for p in await people.pairs()] == [(1, 1), (1, 1)]
    # A changed mind, said from the other side.
    await people.say(one, "bob", over=two)
    assert await people.current() == [("One.", "Two.")]
    [pair] = await people.pairs(is_current=True)
    assert (pair.votes.for_it, pair.votes.against) == (2, 0)
    assert (await people.summary()).conflicts == 0


async def test_a_corrected_label_is_learned_from_and_one_that_agrees_is_not(
    people: People,
) -> None:
    call_id = await people.stored(judge_record(people.now))
    await people.say(call_id, "bob", label="relevant")
    await people.say(call_id, label="maybe", comment="It only might.")
    [pair] = await people.pairs()
    assert pair.chosen == '{"label": "maybe", "reasoning": "It only might."}'
    assert (pair.origin, pair.rejected_model) == ("label", "gpt-4o-mini-2024-07-18")
    assert (await people.summary()).refused == {}


async def test_a_manual_pair_is_kept_with_its_calls_prompt(people: People) -> None:
    call_id = await people.draft()
    await people.say(call_id, pair=("Yes.", "No."))
    [pair] = await people.pairs()
    assert (pair.origin, pair.chosen, pair.call_id) == ("manual", "Yes.", call_id)


async def test_what_gives_no_pair_is_counted_by_its_reason(people: People) -> None:
    await people.say(await people.draft(), edit="Thank  you. ")
    await people.say(await people.draft(""), edit="Thank you.")
    await people.say(
        await people.draft(None, answer=Answer(tool_calls=({"id": "c"},))), edit="Hi."
    )
    await people.say(
        await people.draft(
            surface="responses", request={"previous_response_id": "r", "input": "Hi"}
        ),
        edit="Hi.",
    )
    found = await people.summary()
    assert found.refused == {"equal": 1, "empty": 1, "no_text": 1, "no_prompt": 1}
    assert (found.pairs, found.unpaired) == ({}, 0)


async def test_a_superseded_word_is_no_longer_counted_among_the_refused(people: People) -> None:
    call_id = await people.draft()
    await people.say(call_id, edit="Thank  you.")
    await people.say(call_id, edit="Thank you very much.")
    assert (await people.summary()).refused == {}


async def test_an_absent_text_never_becomes_the_word_none(people: People, rows: Rows) -> None:
    await people.say(await people.draft(None), edit="Hello.")
    await people.say(await people.draft("Bye."), approved=False)
    stored = await rows("SELECT text FROM completions UNION SELECT chosen FROM pairs")
    stored += await rows("SELECT rejected FROM pairs")
    assert {bytes(value) for (value,) in stored} == {b'"Hello."', b'"Bye."'}


async def test_what_only_escapes_can_carry_is_kept_to_the_byte(people: People) -> None:
    generated = "a\x00b \ud800 “ü”"
    await people.say(await people.draft(generated, post="\ud83d \x00"), edit="Hello.")
    assert await people.current() == [("Hello.", generated)]


async def test_one_prompt_on_three_surfaces_is_one_prompt(people: People) -> None:
    system = "Be brief. " * 40  # so long that it is kept apart
    said = [{"role": "user", "content": "Hi"}]
    whole = [{"role": "system", "content": system}, *said]
    bodies = {
        "chat": {"messages": whole},
        "messages": {"system": [{"type": "text", "text": system}], "messages": said},
        "responses": {"instructions": system, "input": "Hi"},
    }
    for surface, body in bodies.items():
        call_id = await people.draft(f"By {surface}.", surface=surface, request=body)
        await people.say(call_id, approved=surface == "responses")
    assert await people.current() == [
        ("By responses.", "By chat."),
        ("By responses.", "By messages."),
    ]


async def test_a_prompt_whose_part_is_gone_is_no_prompt(people: People, rows: Rows) -> None:
    body = {"messages": [{"role": "system", "content": "Be brief. " * 40}]}
    call_id = await people.draft(request=body)
    async with transaction(people.engine) as tx:
        await tx.execute(text("DELETE FROM contents"))
    await people.say(call_id, edit="Hello.")
    assert (await people.summary()).refused == {"no_prompt": 1}
    assert await rows("SELECT count(*) FROM completions") == [(0,)]
