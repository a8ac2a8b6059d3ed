"""What becomes of what people say of calls, and what has been said of one?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.drafts import Draft, draft_of
from sidecar.core.errors import Conflict, SignalopsError
from sidecar.core.feedback import COUNTED, Feedback
from sidecar.core.routing import Task
from sidecar.core.said import Said
from sidecar.service.documents import decode
from sidecar.service.keeping import Given, keep
from sidecar.service.preferences import learn
from sidecar.service.requests import parts_of, whole
from sidecar.service.totals import apply, changed
from sidecar.service.words import Told, check_owner, stored_id, text_of, understand
from sidecar.store import experiments, facts, subjects
from sidecar.store import feedback as store
from sidecar.store.events import By

__all__ = [
    "Given",
    "History",
    "Refused",
    "Said",
    "ToAudit",
    "give",
    "give_all",
    "history",
    "undecided_audits",
]


@dataclass(frozen=True, slots=True)
class Refused:
    """Something said that is not kept.

    Args:
        index: Its place in the batch, from 0.
    """

    index: int
    error: SignalopsError


@dataclass(frozen=True, slots=True)
class History:
    """All that was said of a call, in order, what was superseded too.

    Args:
        draft: What became of it; None for a call that is no draft's, or has been deleted.
    """

    items: Sequence[Feedback]
    draft: Draft | None


@dataclass(frozen=True, slots=True)
class ToAudit:
    """A drawn call that waits for a human's word, told so that it sways nobody.

    Args:
        request: The body as the client sent it.
        answer: Of a draft, which is what is reviewed; None for a judge's, whose answer is
            its label.
    """

    call_id: str
    group: str
    request: Mapping[str, object]
    answer: Mapping[str, object] | None


async def give_all(
    tx: AsyncConnection,
    said: Sequence[Said],
    *,
    project_id: str | None,
    by: By,
    min_edit: float = 0.0,
) -> list[Given | Refused]:
    """Keep what somebody says of calls; totals and preference pairs change with it.

    Said in this order: of two words of one reviewer on one thing the later one stands. What
    cannot be kept is refused, and all else is kept.

    Args:
        project_id: Who asks speaks only of this project's calls; None for all.
        min_edit: Edits that change a smaller share of the text give no pair, in [0, 1].

    Returns:
        In the order of what was said; for the reasons of a refusal see `give`.
    """
    understood = await understand(tx, said, project_id)
    told = [each for each in understood if isinstance(each, Told)]
    given: list[Given | Conflict] = []
    if told:
        await facts.lock(tx, {each.subject.call_id for each in told})
        counted = {each.subject.call_id for each in told if _counts(each)}
        before = await facts.of_calls(tx, counted) if counted else {}
        given, new = await keep(tx, told, by)
        if new:
            await learn(tx, new, by, min_edit=min_edit)
        await apply(tx, *await changed(tx, before))
    kept = iter(given)
    results = [next(kept) if isinstance(each, Told) else each for each in understood]
    return [
        each if isinstance(each, Given) else Refused(place, each)
        for place, each in enumerate(results)
    ]


async def give(
    tx: AsyncConnection,
    said: Said,
    *,
    project_id: str | None,
    by: By,
    min_edit: float = 0.0,
) -> Given:
    """Keep what somebody says of a call; totals and preference pairs change with it.

    Args:
        project_id: Who asks speaks only of this project's calls; None for all.
        min_edit: Edits that change a smaller share of the text give no pair, in [0, 1].

    Raises:
        Invalid: This is no call id, or what is said cannot be said of the call.
        NotFound: There is no such call, or it is not drained yet.
        Denied: The call is another project's.
        Conflict: An audit of a call that was not drawn; a key that came with another word;
            a response id of several calls; answers that cannot be compared.
    """
    [found] = await give_all(tx, [said], project_id=project_id, by=by, min_edit=min_edit)
    if isinstance(found, Refused):
        raise found.error
    return found


async def history(tx: AsyncConnection, call_id: str, *, project_id: str | None) -> History:
    """List all that was said of a call, and say what became of a draft.

    Raises:
        Invalid: This is no call id.
        NotFound: There is no such call, or it is not drained yet.
        Denied: It is another project's.
    """
    asked = stored_id(call_id)
    found = (await subjects.of_calls(tx, [asked], [asked])).get(asked)
    # What was said of a call stays when the call itself is deleted.
    owner = await store.project_of(tx, asked) if found is None else found.project_id
    check_owner(owner, asked, project_id)
    items = await store.history(tx, asked)
    if found is None or found.answer is None or found.task != Task.DRAFT:
        return History(items, None)
    return History(items, draft_of(items, text_of(found.answer)))


async def undecided_audits(
    tx: AsyncConnection, experiment_id: str, limit: int, *, project_id: str | None = None
) -> list[ToAudit]:
    """List drawn calls of which no audit has said anything, oldest first.

    Raises:
        NotFound: There is no such experiment, or it is another project's.
    """
    await experiments.get(tx, experiment_id, project_id=project_id)
    found = await store.undecided(tx, experiment_id, limit)
    parts = await parts_of(tx, (call.skeleton for call in found))
    return [
        ToAudit(
            call.call_id,
            call.group,
            whole(call.skeleton, parts)[0],
            None if call.task == Task.JUDGE else _document(call.answer),
        )
        for call in found
    ]


def _counts(told: Told) -> bool:
    """Whether totals may change with a word; most drafts take part in no experiment."""
    return told.subject.is_counted and told.word.kind in COUNTED


def _document(encoded: bytes) -> Mapping[str, Any]:
    document, _ = decode(encoded)
    return cast("Mapping[str, Any]", document)
