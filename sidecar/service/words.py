"""What does somebody mean to say, and may they? What was sent becomes words about calls."""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.errors import Conflict, Denied, Invalid, NotFound, SignalopsError
from sidecar.core.feedback import DECISIONS, Kind, Source, Word, choice_word
from sidecar.core.routing import Task
from sidecar.core.said import COMPARISONS, Said, form_of, word_of
from sidecar.core.verdicts import DEFAULT_LABELS
from sidecar.service.documents import decode
from sidecar.service.preferences import check_choices
from sidecar.store import generations
from sidecar.store import subjects as store
from sidecar.store.subjects import Subject

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Told:
    """What was said, understood.

    Args:
        subject: The call that the word is kept with.
    """

    said: Said
    subject: Subject
    word: Word


@dataclass(frozen=True, slots=True)
class _Named:
    """Something said, and the ids of the calls it is about; both are stored ones."""

    said: Said
    call_id: str
    other_id: str | None


@dataclass(frozen=True, slots=True)
class _About:
    """Something said, and the calls it is about."""

    said: Said
    subject: Subject
    other: Subject | None


Judged = tuple[int, str]
"""A generation of the routes, and a judge's group in it."""


async def understand(
    tx: AsyncConnection, said: Sequence[Said], project_id: str | None
) -> list[Told | SignalopsError]:
    """Understand each thing that is said, or say why it cannot be.

    Args:
        project_id: Who asks speaks only of this project's calls; None for all.

    Returns:
        In the order of what was said. An error is `Invalid` for what can never be said,
        `NotFound` for an unknown call, `Denied` for another project's, `Conflict` for an
        audit of a call that was not drawn, or answers that cannot be compared.
    """
    answered = await store.calls_answered(
        tx, {each.response_id for each in said if each.response_id is not None}, project_id
    )
    named = _each(said, lambda each: _named(each, answered))
    wanted = {each.call_id for each in _good(named)}
    wanted |= {each.other_id for each in _good(named) if each.other_id is not None}
    edited = {each.call_id for each in _good(named) if each.said.edit is not None}
    known = await store.of_calls(tx, wanted, edited)
    about = _each(named, lambda each: _about(each, known, project_id))
    subjects = [each.subject for each in _good(about) if each.said.label is not None]
    judged = {_judged(each) for each in subjects if each.task == Task.JUDGE}
    labels = await labels_of(tx, judged)
    return await _compared(tx, _each(about, lambda each: _told(each, labels)))


async def labels_of(
    tx: AsyncConnection, judged: Collection[Judged]
) -> dict[Judged, Sequence[str]]:
    """List what judges could answer: few statements for many.

    Of a generation that is lost: what the group's judge can answer now, or what every judge
    begins with.
    """
    then = await store.labels(tx, judged)
    lost = [each for each in judged if each not in then]
    number = await generations.number(tx) if lost else None
    now = {} if number is None else await store.labels(tx, {(number, name) for _, name in lost})
    by_group = {group: labels for (_, group), labels in now.items()}
    return then | {each: by_group.get(each[1], DEFAULT_LABELS) for each in lost}


def text_of(answer: bytes) -> str | None:
    """Read what a model wrote out of a stored answer; None when it wrote no text."""
    document, _ = decode(answer)
    found = cast("Mapping[str, Any]", document).get("text")
    return found if isinstance(found, str) else None


def stored_id(call_id: str) -> str:
    """Spell a call id as it is stored.

    Raises:
        Invalid: This is no call id.
    """
    started_at_of(call_id)  # says so if it is no call id
    return str(uuid.UUID(call_id))


def check_owner(owner: str | None, asked: str, project_id: str | None) -> None:
    """Check that a call is somebody's, and that who asks may speak of it.

    Args:
        owner: The call's project; None when there is no such call.

    Raises:
        NotFound: There is none, or it is not drained yet.
        Denied: It is another project's.
    """
    if owner is None:
        msg = f"there is no call {asked[:40]!r}; a call is stored within seconds of its end"
        raise NotFound(msg)
    if project_id not in (None, owner):
        msg = f"call {asked[:40]} is another project's than your key's ({project_id!r})"
        raise Denied(msg)


def _each(
    items: Iterable[_Given | SignalopsError], do: Callable[[_Given], _Found]
) -> list[_Found | SignalopsError]:
    """Take a step with each item that is well so far; an error takes an item's place."""

    def step(item: _Given) -> _Found | SignalopsError:
        try:
            return do(item)
        except SignalopsError as error:
            return error

    return [item if isinstance(item, SignalopsError) else step(item) for item in items]


def _good(items: Iterable[_Given | SignalopsError]) -> list[_Given]:
    return [item for item in items if not isinstance(item, SignalopsError)]


def _named(said: Said, answered: Mapping[str, Sequence[str]]) -> _Named:
    """Find the ids of the calls that are meant."""
    other = said.tie_with if said.over is None else said.over
    other_id = None if other is None else stored_id(other)
    if said.call_id is not None and said.response_id is None:
        return _Named(said, stored_id(said.call_id), other_id)
    if said.response_id is None or said.call_id is not None:
        msg = "name the call by its call_id or by its response_id: one of them, not both"
        raise Invalid(msg)
    found = answered.get(said.response_id, ())
    if len(found) == 1:
        return _Named(said, found[0], other_id)
    if found:
        msg = f"several calls were answered as {said.response_id[:80]!r}; send the call_id"
        raise Conflict(msg)
    msg = (
        f"no call was answered as {said.response_id[:80]!r}; a call is stored within seconds "
        "of its end"
    )
    raise NotFound(msg)


def _permitted(found: Subject | None, asked: str, project_id: str | None) -> Subject:
    check_owner(None if found is None else found.project_id, asked, project_id)
    return cast("Subject", found)


def _about(named: _Named, known: Mapping[str, Subject], project_id: str | None) -> _About:
    """Find the calls that are meant, and check that they may be spoken of."""
    subject = _permitted(known.get(named.call_id), named.call_id, project_id)
    if named.said.source is Source.AUDIT and not subject.is_drawn:
        msg = (
            f"call {subject.call_id} was not drawn for the audit, so its label speaks for no "
            "other; send it with source 'correction'"
        )
        raise Conflict(msg)
    if named.other_id is None:
        return _About(named.said, subject, None)
    other = _permitted(known.get(named.other_id), named.other_id, project_id)
    if other.project_id != subject.project_id:
        msg = f"calls {subject.call_id} and {other.call_id} are of different projects"
        raise Invalid(msg)
    return _About(named.said, subject, other)


def _told(about: _About, labels: Mapping[Judged, Sequence[str]]) -> Told:
    """Read the word that is said.

    Raises:
        Invalid: It is none, or several, or none that can be said of the call.
    """
    said, subject = about.said, about.subject
    form = form_of(said)
    if form in COMPARISONS and about.other is not None:
        other = about.other
        kept_with, word = choice_word(subject.call_id, other.call_id, is_tie=form == "tie_with")
        return Told(said, subject if kept_with == subject.call_id else other, word)
    generated = None if subject.answer is None else text_of(subject.answer)
    # Nothing but a judge's call takes a label.
    possible = labels.get(_judged(subject), ()) if subject.task == Task.JUDGE else ()
    word = word_of(said, form, possible, generated)
    if word.kind in DECISIONS and subject.task == Task.JUDGE:
        msg = f"the call is a judge's, so it takes a label and no {word.kind}"
        raise Invalid(msg)
    return Told(said, subject, word)


def _judged(subject: Subject) -> Judged:
    return subject.generation, subject.group


async def _compared(
    tx: AsyncConnection, told: list[Told | SignalopsError]
) -> list[Told | SignalopsError]:
    """Refuse the choices between answers that cannot be compared."""
    places = [
        (place, each.subject.call_id, each.word.other_call_id)
        for place, each in enumerate(told)
        if isinstance(each, Told) and each.word.kind is Kind.CHOICE
    ]
    found = await check_choices(tx, [(first, str(other)) for _, first, other in places])
    for (place, _, _), error in zip(places, found, strict=True):
        if error is not None:
            told[place] = error
    return told
