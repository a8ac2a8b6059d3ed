"""Where is feedback kept? A row for every word; a superseded one stays, no longer current."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.feedback import Feedback, Source, Word, shown_value
from sidecar.store.events import By
from sidecar.store.measured import feedback

# Of the calls that `only` names: the audit label that counts, and whether somebody corrected
# the call unasked. A reviewer's place is that of the first word; superseding it keeps it.
SAID = """
    SELECT call_id,
        (array_agg(label ORDER BY coalesce(first_id, id))
            FILTER (WHERE source = 'audit' AND name = 'label'))[1] AS human,
        bool_or(source = 'correction') AS is_corrected
    FROM feedback WHERE is_current {only} GROUP BY call_id"""
SAID_VALUES = """
    SELECT DISTINCT ON (call_id, name) call_id, name, value
    FROM feedback WHERE is_current AND source = 'audit' AND value IS NOT NULL {only}
    ORDER BY call_id, name, coalesce(first_id, id)"""


@dataclass(frozen=True, slots=True)
class About:
    """What a word is about, and whose it is."""

    call_id: str
    started_at: datetime
    project_id: str
    source: Source
    reviewer: str


@dataclass(frozen=True, slots=True)
class Current:
    """What a reviewer says now.

    Args:
        first_id: Of what the same reviewer said first.
    """

    feedback: Feedback
    word: Word
    first_id: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a call decides what may be said of it."""

    call_id: str
    started_at: datetime
    project_id: str
    group: str
    task: str
    generation: int
    is_drawn: bool


@dataclass(frozen=True, slots=True)
class Undecided:
    """A drawn call that waits for a human's word; arm and verdict are left out.

    Args:
        skeleton: Of the request, see `core.contents`.
        answer: JSON.
    """

    call_id: str
    group: str
    task: str
    skeleton: bytes
    answer: bytes


async def subject(tx: AsyncConnection, call_id: str) -> Subject | None:
    """Fetch what there is to know of a call, None when it is unknown.

    Raises:
        Invalid: This is no call id.
    """
    statement = text(
        "SELECT call_id, started_at, project_id, group_name, task, generation, is_drawn "
        "FROM calls WHERE call_id = :call_id AND started_at = :moment"
    )
    values = {"call_id": call_id, "moment": started_at_of(call_id)}
    found = (await tx.execute(statement, values)).one_or_none()
    return None if found is None else Subject(*found)


async def current(tx: AsyncConnection, about: About, name: str) -> Current | None:
    """Fetch what a reviewer says of a call now; None when they said nothing."""
    statement = select(feedback).where(
        feedback.c.call_id == about.call_id,
        feedback.c.name == name,
        feedback.c.source == about.source.value,
        feedback.c.reviewer == about.reviewer,
        feedback.c.is_current,
    )
    found = (await tx.execute(statement)).mappings().one_or_none()
    if found is None:
        return None
    word = Word(found["name"], found["label"], found["value"], found["is_boolean"])
    return Current(_feedback(found), word, found["first_id"] or found["id"])


async def add(
    tx: AsyncConnection,
    about: About,
    word: Word,
    by: By,
    *,
    comment: str | None,
    before: Current | None,
) -> Feedback:
    """Store a word in place of the one before, which `current` gave."""
    if before is not None:
        old = update(feedback).where(feedback.c.id == before.feedback.id)
        await tx.execute(old.values(is_current=False))
    statement = insert(feedback).values(
        call_id=about.call_id,
        started_at=about.started_at,
        project_id=about.project_id,
        name=word.name,
        source=about.source.value,
        reviewer=about.reviewer,
        label=word.label,
        value=word.value,
        is_boolean=word.is_boolean,
        comment=comment,
        at=by.now,
        actor=by.actor,
        is_current=True,
        supersedes=None if before is None else before.feedback.id,
        first_id=None if before is None else before.first_id,
    )
    return _feedback((await tx.execute(statement.returning(feedback))).mappings().one())


async def history(tx: AsyncConnection, call_id: str) -> list[Feedback]:
    """List all that was said of a call, in order."""
    statement = select(feedback).where(feedback.c.call_id == call_id).order_by(feedback.c.id)
    return [_feedback(found) for found in (await tx.execute(statement)).mappings()]


async def undecided(tx: AsyncConnection, experiment_id: str, limit: int) -> list[Undecided]:
    """List drawn calls of all epochs of which no audit has said anything, oldest first."""
    statement = text(
        """
        SELECT call_id, group_name, task, request, answer FROM calls
        WHERE experiment_id = :experiment_id AND is_drawn AND NOT EXISTS (
            SELECT FROM feedback WHERE feedback.call_id = calls.call_id
                AND feedback.source = 'audit' AND feedback.is_current)
        ORDER BY call_id LIMIT :limit
        """
    )
    found = await tx.execute(statement, {"experiment_id": experiment_id, "limit": limit})
    return [Undecided(row[0], row[1], row[2], bytes(row[3]), bytes(row[4])) for row in found]


async def labels_of(tx: AsyncConnection, generation: int, group: str) -> Sequence[str] | None:
    """Fetch what a group's judge could answer under a generation of the routes.

    None when that generation, or the group in it, is not on record.
    """
    statement = text(
        "SELECT routes #> ARRAY['groups', :group, 'labels'] FROM generations "
        "WHERE number = :generation"
    )
    found: Any = await tx.execute(statement, {"generation": generation, "group": group})
    labels: Sequence[str] | None = found.scalar_one_or_none()
    return labels


def _feedback(found: RowMapping) -> Feedback:
    value = shown_value(found["value"], is_boolean=found["is_boolean"])
    names = (name for name in Feedback.__slots__ if name not in ("value", "source"))
    plain = {name: found[name] for name in names}
    return Feedback(**plain, value=value, source=Source(found["source"]))
