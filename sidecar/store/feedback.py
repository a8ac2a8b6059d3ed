"""Where is feedback kept? A row for every word; a superseded one stays, no longer current."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.feedback import COUNTED, Feedback, Kind, Source, Word, shown_value
from sidecar.store.learned import feedback

_COUNTED = ", ".join(f"'{kind}'" for kind in COUNTED)
# Of the calls that `only` names: the audit label that counts, and whether somebody corrected
# the call unasked. A reviewer's place is that of the first word; superseding it keeps it.
SAID = f"""
    SELECT call_id,
        (array_agg(label ORDER BY coalesce(first_id, id))
            FILTER (WHERE source = 'audit' AND name = 'label'))[1] AS human,
        bool_or(source = 'correction') AS is_corrected
    FROM feedback WHERE is_current AND kind IN ({_COUNTED}) {{only}} GROUP BY call_id"""  # noqa: S608
SAID_VALUES = f"""
    SELECT DISTINCT ON (call_id, name) call_id, name, value
    FROM feedback WHERE is_current AND source = 'audit' AND value IS NOT NULL
        AND kind IN ({_COUNTED}) {{only}}
    ORDER BY call_id, name, coalesce(first_id, id)"""  # noqa: S608

Slot = tuple[str, str, Source, str]
"""Call id, name, source and reviewer: of these there is one current word at most."""

_PLAIN = [name for name in Feedback.__slots__ if name not in ("kind", "source", "value")]
# Every column but the id's identity, with its type, in the order of `_values`.
_TYPES = {
    "id": "bigint",
    "call_id": "text",
    "started_at": "timestamptz",
    "project_id": "text",
    "kind": "text",
    "name": "text",
    "source": "text",
    "reviewer": "text",
    "label": "text",
    "value": "bigint",
    "is_boolean": "boolean",
    "text": "text",
    "rejected": "text",
    "other_call_id": "text",
    "comment": "text",
    "key": "text",
    "at": "timestamptz",
    "actor": "text",
    "is_current": "boolean",
    "supersedes": "bigint",
    "first_id": "bigint",
}
# In the order of their keys, so that two writers wait for each other in one order only.
_INSERT = text(
    f"INSERT INTO feedback ({', '.join(_TYPES)}) OVERRIDING SYSTEM VALUE "  # noqa: S608
    "SELECT * FROM unnest("
    + ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _TYPES.items())
    + f") AS words ({', '.join(_TYPES)}) ORDER BY project_id, key "
    "ON CONFLICT (project_id, key) WHERE key IS NOT NULL DO NOTHING RETURNING id"
)
_RETIRE = text("UPDATE feedback SET is_current = false WHERE id = ANY(CAST(:old AS bigint[]))")
_KNOWN = text(
    """
    SELECT feedback.* FROM feedback JOIN unnest(CAST(:call_ids AS text[]),
        CAST(:names AS text[]), CAST(:sources AS text[]), CAST(:reviewers AS text[]))
        AS sought (call_id, name, source, reviewer) USING (call_id, name, source, reviewer)
    WHERE is_current
    UNION ALL
    SELECT feedback.* FROM feedback JOIN unnest(CAST(:projects AS text[]),
        CAST(:keys AS text[])) AS sought (project_id, key) USING (project_id, key)
    """
)
# What deletes nothing takes the lock of who writes, before the first id is taken.
_TAKE_IDS = text(
    """
    WITH writing AS (DELETE FROM feedback WHERE false)
    SELECT nextval(pg_get_serial_sequence('feedback', 'id'))
    FROM generate_series(1, CAST(:number AS int))
    """
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A word as it is kept, or is to be kept.

    Args:
        first_id: Of what the same reviewer said first; None when this is it.
    """

    feedback: Feedback
    word: Word
    project_id: str
    first_id: int | None

    @property
    def slot(self) -> Slot:
        """What a later word must share to supersede this one."""
        said = self.feedback
        return said.call_id, said.name, said.source, said.reviewer


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


async def known(
    tx: AsyncConnection, slots: Collection[Slot], keys: Collection[tuple[str, str]]
) -> tuple[dict[Slot, Kept], dict[tuple[str, str], Kept]]:
    """Fetch what reviewers say of calls now, and the words that came with some keys.

    Args:
        keys: Project ids, each with a client's key; their words may be current or not.

    Returns:
        By slot, and by project and key; a slot or key in which nothing was said is absent.
    """
    names = ("call_ids", "names", "sources", "reviewers")
    values = _columns(names, slots) | _columns(("projects", "keys"), keys)
    found = [_kept(row) for row in (await tx.execute(_KNOWN, values)).mappings()]
    current = {kept.slot: kept for kept in found if kept.feedback.is_current}
    keyed = {(kept.project_id, str(kept.feedback.key)): kept for kept in found}
    return (
        {slot: current[slot] for slot in slots if slot in current},
        {key: keyed[key] for key in keys if key in keyed},
    )


async def take_ids(tx: AsyncConnection, number: int) -> list[int]:
    """Take ids for words that this transaction may add, in rising order.

    The table is locked first, as an INSERT would: whoever waits for the writers to be done
    (a dataset that is built as of the newest id) then waits for these ids, too.
    """
    return sorted((await tx.execute(_TAKE_IDS, {"number": number})).scalars())


async def add(tx: AsyncConnection, words: Sequence[Kept], old: Collection[int]) -> set[int]:
    """Store words, of which nothing is stored yet, in place of some old ones.

    Args:
        old: Ids of stored words that are current no longer.

    Returns:
        The ids of the stored: without those whose key somebody else has used meanwhile.
    """
    if old:
        await tx.execute(_RETIRE, {"old": sorted(old)})
    if not words:
        return set()
    rows = [_values(kept) for kept in words]
    columns = {name: [row[name] for row in rows] for name in _TYPES}
    return set((await tx.execute(_INSERT, columns)).scalars())


async def history(tx: AsyncConnection, call_id: str) -> list[Feedback]:
    """List all that was said of a call, in order; a choice is said of both its calls."""
    is_about = or_(feedback.c.call_id == call_id, feedback.c.other_call_id == call_id)
    statement = select(feedback).where(is_about).order_by(feedback.c.id)
    return [_kept(found).feedback for found in (await tx.execute(statement)).mappings()]


async def project_of(tx: AsyncConnection, call_id: str) -> str | None:
    """Say whose call it was of which something was said; None when nothing was."""
    statement = select(feedback.c.project_id).where(feedback.c.call_id == call_id).limit(1)
    found: str | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


async def undecided(tx: AsyncConnection, experiment_id: str, limit: int) -> list[Undecided]:
    """List drawn calls of all epochs of which no audit has said anything, oldest first."""
    statement = text(
        f"""
        SELECT call_id, group_name, task, request, answer FROM calls
        WHERE experiment_id = :experiment_id AND is_drawn AND NOT EXISTS (
            SELECT FROM feedback WHERE feedback.call_id = calls.call_id
                AND feedback.source = 'audit' AND feedback.is_current
                AND feedback.kind IN ({_COUNTED}))
        ORDER BY call_id LIMIT :limit
        """  # noqa: S608 - of our own kinds
    )
    found = await tx.execute(statement, {"experiment_id": experiment_id, "limit": limit})
    return [Undecided(row[0], row[1], row[2], bytes(row[3]), bytes(row[4])) for row in found]


def _columns(names: Sequence[str], rows: Collection[tuple[str, ...]]) -> dict[str, list[str]]:
    columns = zip(*sorted(rows), strict=True) if rows else ((),) * len(names)
    return {name: list(column) for name, column in zip(names, columns, strict=True)}


def _values(kept: Kept) -> dict[str, object]:
    said, word = kept.feedback, kept.word
    plain: dict[str, object] = {name: getattr(said, name) for name in _PLAIN}
    return plain | {
        "started_at": started_at_of(said.call_id),
        "project_id": kept.project_id,
        "kind": said.kind.value,
        "source": said.source.value,
        "value": word.value,
        "is_boolean": word.is_boolean,
        "first_id": kept.first_id,
    }


def _kept(found: RowMapping) -> Kept:
    kind = Kind(found["kind"])
    plain = {name: found[name] for name in _PLAIN}
    value = shown_value(found["value"], is_boolean=found["is_boolean"])
    said = Feedback(**plain, kind=kind, source=Source(found["source"]), value=value)
    shared = [name for name in Word.__slots__ if name != "kind"]
    word = Word(kind, **{name: found[name] for name in shared})
    return Kept(said, word, found["project_id"], found["first_id"])
