"""What does a trainer learn from what people say of answers, without anyone asking?

Called for new words in the transaction that stores them: there is no moment at which a word
is kept and what it teaches is not.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Invalid, NotFound, SignalopsError
from sidecar.core.feedback import Feedback
from sidecar.core.matching import matches
from sidecar.core.pairs import Ground, KnownPair, PairFilter, PairSummary, votes_of
from sidecar.core.preferences import (
    TEACHING,
    Asked,
    Completion,
    Lesson,
    Pair,
    Prompted,
    Written,
    asked_the_same,
    content_hash,
    lesson_of,
)
from sidecar.core.prompts import digest, parts, prompt_of
from sidecar.service.documents import decode, encode
from sidecar.service.requests import parts_of, whole
from sidecar.store import pairs as pairs_store
from sidecar.store import preferences as store
from sidecar.store.events import By
from sidecar.store.pairs import FoundPair
from sidecar.store.preferences import Found, Kept, KeptPair

AT_ONCE = 100  # calls in memory with their requests, which may be megabytes each


async def learn(
    tx: AsyncConnection, given: Sequence[Feedback], by: By, *, min_edit: float = 0.0
) -> None:
    """Keep what new words teach: good and bad texts, pairs, and why others give none.

    Args:
        given: Words that this transaction has stored.
        min_edit: An edit under this share of the longer text gives no pair; in [0, 1].
    """
    words = [word for word in given if word.kind in TEACHING]
    if not words:
        return
    calls = await _calls(tx, words)
    lessons = await _lessons(words, calls, min_edit)
    pairs = [lesson.pair for lesson in lessons.values() if lesson.pair is not None]
    completions = [each for lesson in lessons.values() for each in lesson.completions]
    if completions:
        # Before anything is stored or read: of two words for one prompt in transactions of
        # their own, the second then sees the first.
        await store.lock(tx, {each.prompt for each in completions})
        kept = await store.add_completions(tx, [_kept(each) for each in completions])
        have_one = {pair.feedback_id for pair in pairs}
        # Of two words in one batch the second may have taken the first back.
        alone = {word.id for word in words if word.is_current} - have_one
        bad = [each for each in completions if not each.is_good and each.feedback_id in alone]
        bad += map(_completion, kept)
        new = {each.feedback_id for each in completions}
        pairs += await _matched(tx, bad, new, min_edit)
    if pairs:
        await store.add_pairs(tx, [_kept_pair(pair) for pair in pairs], by.now)
    refusals = [
        (word.id, calls[word.call_id].project_id, refusal.value)
        for word in words
        if (refusal := lessons[word.id].refusal) is not None
    ]
    if refusals:
        await store.add_refusals(tx, refusals)


async def check_choices(
    tx: AsyncConnection, choices: Sequence[tuple[str, str]]
) -> list[SignalopsError | None]:
    """Say of each two calls why their answers cannot be compared; None: they can.

    Only the prompts are compared: whether who asks may see the calls is not checked here.

    Args:
        choices: Two call ids each.

    Returns:
        In their order; `NotFound` for a call that is not stored, `Invalid` otherwise.

    Raises:
        Invalid: One is no call id.
    """
    calls = await _read(tx, {(call_id, None) for two in choices for call_id in two})
    return [_difference(calls, first, second) for first, second in choices]


async def page(
    tx: AsyncConnection, only: PairFilter, *, before: int | None = None, limit: int = 50
) -> tuple[list[KnownPair], int | None]:
    """List pairs with their grounds and votes, newest first.

    Args:
        before: Only what has a smaller id.

    Returns:
        At most `limit` pairs, and the `before` of the page that follows; None on the last.
    """
    # One more than asked for tells whether there is a next page.
    found = await pairs_store.page(tx, only, before=before, limit=limit + 1)
    items = found[:limit]
    ids = {item.id for item in items} | {item.opposite_id or 0 for item in items}
    grounds = await pairs_store.grounds(tx, sorted(ids))
    known = [_known(item, grounds) for item in items]
    return known, items[-1].id if len(found) > limit else None


async def summary(tx: AsyncConnection, project_id: str | None) -> PairSummary:
    """Count what there is to learn from, of a project or, with None, of all."""
    return await pairs_store.summary(tx, project_id)


def _known(found: FoundPair, grounds: Mapping[int, Sequence[Ground]]) -> KnownPair:
    mine = grounds[found.id]
    return KnownPair(
        id=found.id,
        project_id=found.project_id,
        group=found.group,
        origin=found.origin,
        call_id=found.call_id,
        prompt_hash=found.prompt_hash.hex(),
        chosen=str(decode(found.chosen)[0]),
        rejected=str(decode(found.rejected)[0]),
        chosen_model=found.chosen_model,
        rejected_model=found.rejected_model,
        at=found.at,
        is_current=any(ground.is_current for ground in mine),
        grounds=mine,
        votes=votes_of(mine, grounds.get(found.opposite_id or 0, ())),
    )


def _difference(calls: Mapping[str, Asked], first: str, second: str) -> SignalopsError | None:
    for call_id in (first, second):
        if call_id not in calls:
            return NotFound(f"there is no call {call_id[:40]!r}")
        if calls[call_id].prompt is None:
            return Invalid(f"the request of call {call_id} holds no prompt to compare by")
    one, other = calls[first], calls[second]
    if one is other:
        return Invalid(f"call {first} cannot be preferred over itself")
    if one.project_id != other.project_id:
        return Invalid(f"calls {first} and {second} are of two projects")
    if not asked_the_same(one, other):
        msg = f"calls {first} and {second} were asked different prompts, so neither is better"
        return Invalid(msg)
    return None


async def _lessons(
    words: Sequence[Feedback], calls: Mapping[str, Asked], min_edit: float
) -> dict[int, Lesson]:
    lessons = {}
    for word in words:
        lessons[word.id] = lesson_of(word, calls, min_edit)
        await asyncio.sleep(0)  # long texts take milliseconds each: others are served, too
    return lessons


async def _matched(
    tx: AsyncConnection, bad: Sequence[Completion], new: Collection[int], min_edit: float
) -> list[Pair]:
    """Pair rejected texts with good ones for the same prompts, of which either is new."""
    if not bad:
        return []
    good = await store.good(tx, {each.prompt for each in bad})
    return matches(bad, map(_completion, good), new, min_edit)


async def _calls(tx: AsyncConnection, words: Sequence[Feedback]) -> dict[str, Asked]:
    wanted = {(word.call_id, word.label) for word in words}
    others = {(word.other_call_id, None) for word in words if word.other_call_id is not None}
    return await _read(tx, wanted | others)


async def _read(tx: AsyncConnection, wanted: set[tuple[str, str | None]]) -> dict[str, Asked]:
    calls: dict[str, Asked] = {}
    in_order = sorted(wanted, key=lambda each: each[0])
    for start in range(0, len(in_order), AT_ONCE):
        found = await store.asked(tx, in_order[start : start + AT_ONCE])
        bodies = await parts_of(tx, (call.skeleton for call in found))
        calls |= {call.call_id: _asked(call, bodies) for call in found}
    return calls


def _asked(call: Found, bodies: Mapping[bytes, bytes]) -> Asked:
    answer = cast("Mapping[str, Any]", decode(call.answer)[0])
    text = None if answer.get("tool_calls") else answer.get("text")
    return Asked(
        call.call_id,
        call.project_id,
        _prompted(call, bodies),
        None if text is None else Written(str(text), call.model),
        call.verdict_label,
    )


def _prompted(call: Found, bodies: Mapping[bytes, bytes]) -> Prompted | None:
    """Find out which prompt a call had; None when there is none, or a part of it is gone."""
    try:
        request, exact = whole(call.skeleton, bodies)
        prompt = prompt_of(call.surface, request)
        if prompt is None:
            return None
        return Prompted(call.project_id, call.group, digest(*parts(prompt, exact)))
    except (Invalid, NotFound):
        return None


def _kept(each: Completion) -> Kept:
    text = encode(each.said.text)
    ids = each.feedback_id, each.is_good
    return Kept(*ids, each.prompt, each.call_id, text, each.said.model)


def _completion(kept: Kept) -> Completion:
    text, _ = decode(kept.text)
    said = Written(cast("str", text), kept.model)
    return Completion(kept.feedback_id, kept.is_good, kept.prompt, kept.call_id, said)


def _kept_pair(pair: Pair) -> KeptPair:
    chosen, rejected = encode(pair.chosen.text), encode(pair.rejected.text)
    return KeptPair(
        content_hash=content_hash(pair.prompt.hash, chosen, rejected),
        origin=pair.origin,
        prompt=pair.prompt,
        call_id=pair.call_id,
        chosen=chosen,
        rejected=rejected,
        chosen_model=pair.chosen.model,
        rejected_model=pair.rejected.model,
        feedback_id=pair.feedback_id,
        with_id=pair.with_id,
    )
