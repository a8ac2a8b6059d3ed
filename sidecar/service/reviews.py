"""What is a reviewer handed to look at, and what becomes of the answer?

A call that was handed out is held for a time, so that nobody else gets it; who does not
answer in that time may still do so until somebody else was handed the call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Conflict, Invalid, NotFound
from sidecar.core.feedback import Feedback, Source
from sidecar.core.reviewing import (
    LOCKED_FOR,
    SKIPPED_FOR,
    Kind,
    blind,
    kind_of,
)
from sidecar.core.routing import Task
from sidecar.core.said import Said
from sidecar.service import feedback
from sidecar.service.requests import parts_of, whole
from sidecar.service.words import check_owner, labels_of, stored_id, text_of
from sidecar.store import reviews as store
from sidecar.store.events import By
from sidecar.store.reviews import Asking, Looked

MOST_COUNTED = 100  # of what waits: more is only known to be more


@dataclass(frozen=True, slots=True)
class Item:
    """A call to look at, told so that it sways nobody.

    Args:
        labels: What may be said of a judge's call; empty for others.
        request: As the client sent it, without what may tell which arm answered.
        text: What was written, of a draft; None for a judge's, whose answer is its label.
    """

    call_id: str
    kind: Kind
    task: str
    group: str
    labels: Sequence[str]
    request: Mapping[str, object]
    text: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many calls wait beside the one handed out.

    Args:
        count: At most `MOST_COUNTED`.
        is_more: There are more.
    """

    count: int
    is_more: bool


@dataclass(frozen=True, slots=True)
class Handed:
    """What a reviewer is handed.

    Args:
        item: None when nothing waits for this reviewer.
        locked_until: Until then nobody else is handed it; None without an item.
        waiting: For this reviewer, by kind.
    """

    item: Item | None
    locked_until: datetime | None
    waiting: Mapping[Kind, Waiting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reviewer says of a call that was handed out, or that it is to be skipped."""

    call_id: str
    reviewer: str
    label: str | None = None
    approved: bool | None = None
    better: str | None = None
    edit: str | None = None
    comment: str | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an answer.

    Args:
        feedback: None for a call that was skipped.
        is_new: This had not been said before.
    """

    call_id: str
    feedback: Feedback | None
    is_new: bool


async def hand_out(tx: AsyncConnection, asking: Asking, *, only: Kind | None = None) -> Handed:
    """Hand a reviewer the call that waits first, and hold it for `LOCKED_FOR`.

    What the reviewer holds already comes first, so that nothing is lost by asking again.

    Args:
        only: Hand out this kind alone.
    """
    limit = MOST_COUNTED + 2  # one is handed out, another tells that there are more
    found = {
        Kind.AUDIT: await store.audits(tx, asking, limit),
        Kind.DRAFT: await store.drafts(tx, asking, limit),
    }
    queue = [call_id for kind in Kind if only in (None, kind) for call_id in found[kind]]
    for call_id in dict.fromkeys([*await store.held(tx, asking), *queue]):
        item = await _take(tx, call_id, asking, only)
        if item is not None:
            return Handed(item, asking.now + LOCKED_FOR, _waiting(found, call_id))
    return Handed(None, None, _waiting(found, None))


async def answer(
    tx: AsyncConnection,
    said: Answer,
    *,
    project_id: str | None,
    double: float,
    by: By,
    min_edit: float = 0.0,
) -> Answered:
    """Keep what a reviewer says of a call, and let go of the call.

    Args:
        double, min_edit: As for `Asking` and `feedback.give`.

    Raises:
        Invalid: This is no call id, or this cannot be said of the call.
        NotFound: There is no such call, or it is not drained yet.
        Denied: It is another project's.
        Conflict: Somebody else was handed the call meanwhile, or it waits for nobody.
    """
    _check_form(said)
    call_id = stored_id(said.call_id)
    asking = Asking(said.reviewer, project_id, None, double, by.now)
    await store.claim(tx, call_id)
    looked = _allowed(await store.look(tx, call_id, asking), said.call_id, project_id)
    _check_turn(looked, asking)
    if said.skip:
        await store.skip(tx, call_id, said.reviewer, by.now, by.now + SKIPPED_FOR)
        given = Answered(call_id, None, is_new=False)
    else:
        word = _said(said, looked)
        kept = await feedback.give(tx, word, project_id=project_id, by=by, min_edit=min_edit)
        given = Answered(call_id, kept.feedback, kept.is_new)
    await store.release(tx, call_id, asking)
    return given


async def _take(
    tx: AsyncConnection, call_id: str, asking: Asking, only: Kind | None
) -> Item | None:
    """Hand a call to who asks; None when it has come not to wait for them."""
    # What was listed may have been taken or answered since. Whoever takes or answers a call
    # claims it first, so what is looked up under the claim stays so.
    if not await store.try_to_claim(tx, call_id):
        return None
    looked = await store.look(tx, call_id, asking)
    if looked is None or looked.is_skipped or looked.holder not in (None, asking.reviewer):
        return None
    kind = kind_of(looked.state, asking.reviewer, asking.double)
    in_groups = asking.groups is None or looked.group in asking.groups
    if kind is None or not in_groups or only not in (None, kind):
        return None
    item = await _shown(tx, looked, kind)
    await store.lock(tx, looked, asking.reviewer, asking.now + LOCKED_FOR)
    return item


async def _shown(tx: AsyncConnection, looked: Looked, kind: Kind) -> Item | None:
    """Tell of a call what a reviewer may know; None when its request is no longer whole."""
    try:
        request, _ = whole(looked.skeleton, await parts_of(tx, [looked.skeleton]))
    except NotFound:
        return None
    is_judge = looked.state.task == Task.JUDGE
    judged = looked.generation, looked.group
    return Item(
        looked.state.call_id,
        kind,
        looked.state.task,
        looked.group,
        (await labels_of(tx, {judged}))[judged] if is_judge else (),
        blind(request),
        None if is_judge else text_of(looked.answer),
    )


def _waiting(found: Mapping[Kind, Sequence[str]], handed: str | None) -> dict[Kind, Waiting]:
    left = {kind: sum(1 for each in ids if each != handed) for kind, ids in found.items()}
    return {
        kind: Waiting(min(count, MOST_COUNTED), count > MOST_COUNTED)
        for kind, count in left.items()
    }


def _check_form(said: Answer) -> None:
    words = [said.label, said.approved, said.edit]
    if said.skip and any(each is not None for each in (*words, said.better)):
        msg = "a call is skipped, or something is said of it: found both"
        raise Invalid(msg)
    if not said.skip and all(each is None for each in words):
        msg = "give a label, or approved (with false perhaps a better text), or edit, or skip"
        raise Invalid(msg)


def _allowed(looked: Looked | None, asked: str, project_id: str | None) -> Looked:
    check_owner(None if looked is None else looked.project_id, asked, project_id)
    return cast("Looked", looked)


def _check_turn(looked: Looked, asking: Asking) -> None:
    """Check that who answers may: they hold the call, or it was theirs and is nobody's.

    Raises:
        Conflict: Somebody else holds it, has answered it, or it never was to be reviewed.
    """
    call_id, reviewer = looked.state.call_id, asking.reviewer
    if looked.holder == reviewer or reviewer in looked.decided_by:
        return  # what one has said before may be said again, or otherwise
    if looked.holder is not None:
        msg = (
            f"call {call_id} was handed to {looked.holder!r}, for it was held too long without "
            f"an answer; ask {looked.holder!r}, or ask for the next one"
        )
        raise Conflict(msg)
    if kind_of(looked.state, reviewer, asking.double) is not None:
        return
    if looked.decided_by:
        names = ", ".join(repr(name) for name in sorted(looked.decided_by))
        msg = f"call {call_id} has been answered by {names} meanwhile; ask for the next one"
    else:
        msg = f"call {call_id} waits for no review; what is said of it goes to /v1/feedback"
    raise Conflict(msg)


def _said(said: Answer, looked: Looked) -> Said:
    return Said(
        source=Source.AUDIT if looked.state.is_drawn else Source.REVIEW,
        reviewer=said.reviewer,
        call_id=looked.state.call_id,
        label=said.label,
        approved=said.approved,
        better=said.better,
        edit=said.edit,
        comment=said.comment,
    )
