"""What may be said of a call, by whom, and what becomes of it?"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.contents import join, references
from sidecar.core.errors import Conflict, Invalid, NotFound
from sidecar.core.feedback import APPROVED, Feedback, Source, Word, label_word, value_word
from sidecar.core.routing import Task
from sidecar.core.verdicts import DEFAULT_LABELS
from sidecar.service.documents import decode
from sidecar.service.totals import recounting
from sidecar.store import contents, experiments, generations
from sidecar.store import feedback as store
from sidecar.store.events import By
from sidecar.store.feedback import About, Current, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What somebody says of a call: a label, or whether it is approved, or a named value.

    Args:
        name, value: Go together.
        reviewer: A person's name, or a declared judge's.
    """

    call_id: str
    source: Source
    reviewer: str
    label: str | None = None
    approved: bool | None = None
    name: str | None = None
    value: float | bool | None = None
    comment: str | None = None


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


async def give(
    tx: AsyncConnection, said: Said, *, project_id: str | None, by: By
) -> tuple[Feedback, bool]:
    """Keep what somebody says of a call; the totals change with it.

    Args:
        project_id: Who asks sees only this project's calls; None for all.

    Returns:
        The feedback, and whether it is new: what the same reviewer says already is given
        back as it is.

    Raises:
        Invalid: This is no call id, or the label or value cannot be.
        NotFound: There is no such call, it is another project's, or it is not drained yet.
        Conflict: An audit of a call that was not drawn.
    """
    subject = await _subject(tx, said.call_id, project_id)
    if said.source is Source.AUDIT and not subject.is_drawn:
        msg = (
            f"call {subject.call_id} was not drawn for the audit, so its label speaks for no "
            "other; send it with source 'correction'"
        )
        raise Conflict(msg)
    word = _word(said, await _labels(tx, subject))
    about = About(
        subject.call_id, subject.started_at, subject.project_id, said.source, said.reviewer
    )
    async with recounting(tx, [subject.call_id]):
        before = await store.current(tx, about, word.name)
        if before is not None and _same(before, word, said.comment):
            return before.feedback, False
        added = await store.add(tx, about, word, by, comment=said.comment, before=before)
    return added, True


async def history(
    tx: AsyncConnection, call_id: str, *, project_id: str | None
) -> list[Feedback]:
    """List all that was said of a call, in order, what was superseded too.

    Raises:
        Invalid: This is no call id.
        NotFound: There is no such call, it is another project's, or it is not drained yet.
    """
    subject = await _subject(tx, call_id, project_id)
    return await store.history(tx, subject.call_id)


async def undecided_audits(
    tx: AsyncConnection, experiment_id: str, limit: int, *, project_id: str | None = None
) -> list[ToAudit]:
    """List drawn calls of which no audit has said anything, oldest first.

    Raises:
        NotFound: There is no such experiment, or it is another project's.
    """
    await experiments.get(tx, experiment_id, project_id=project_id)
    found = await store.undecided(tx, experiment_id, limit)
    hashes = {digest for call in found for digest in references(call.skeleton)}
    parts = await contents.get(tx, hashes)
    return [
        ToAudit(
            call.call_id,
            call.group,
            _document(join(call.skeleton, parts)),
            None if call.task == Task.JUDGE else _document(call.answer),
        )
        for call in found
    ]


async def _subject(tx: AsyncConnection, call_id: str, project_id: str | None) -> Subject:
    started_at_of(call_id)  # says so if it is no call id
    found = await store.subject(tx, str(uuid.UUID(call_id)))
    if found is None or project_id not in (None, found.project_id):
        msg = f"there is no call {call_id[:40]!r}; a call is stored within seconds of its end"
        raise NotFound(msg)
    return found


async def _labels(tx: AsyncConnection, subject: Subject) -> Sequence[str]:
    """List what the call's judge could answer; nothing for a call that is no judge's."""
    if subject.task != Task.JUDGE:
        return ()
    then = await store.labels_of(tx, subject.generation, subject.group)
    if then:
        return then
    # Routes of a lost generation: the group as it is now, or what every judge begins with.
    number = await generations.number(tx)
    now = None if number is None else await store.labels_of(tx, number, subject.group)
    return now or DEFAULT_LABELS


def _word(said: Said, labels: Sequence[str]) -> Word:
    given = {
        "label": said.label,
        "approved": said.approved,
        "name and value": said.name if said.value is None else said.value,
    }
    kinds = [kind for kind, value in given.items() if value is not None]
    if len(kinds) != 1 or (said.name is None) != (said.value is None):
        msg = f"give a label, or approved, or a name and value; found {kinds or 'none'}"
        raise Invalid(msg)
    if said.label is not None:
        return label_word(said.label, labels)
    if said.approved is not None:
        return value_word(APPROVED, said.approved)
    return value_word(str(said.name), said.value)


def _same(before: Current, word: Word, comment: str | None) -> bool:
    return before.word == word and before.feedback.comment == comment


def _document(encoded: bytes) -> Mapping[str, Any]:
    document, _ = decode(encoded)
    return cast("Mapping[str, Any]", document)
