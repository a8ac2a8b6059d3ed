"""Where is kept what people's words teach? Texts called good or bad, pairs, and refusals."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.preferences import Origin, Prompted

_LOCK_CLASS = 0x510_0008  # of the advisory locks under which texts of a prompt are paired
MOST_UNPAIRED = 1_000  # paired at once; the next good text takes the rest
_LATEST = 20  # good texts of a prompt that are looked at

_LOCK = text("SELECT pg_advisory_xact_lock(:class, key) FROM unnest(CAST(:keys AS int[])) key")
# A label that agrees teaches nothing, so that its call is not even read.
_ASKED = text(
    """
    SELECT call_id, project_id, group_name, surface, request, answer,
        coalesce(provider_model, served_deployment), verdict_label
    FROM unnest(CAST(:call_ids AS text[]), CAST(:moments AS timestamptz[]),
        CAST(:labels AS text[])) AS wanted (call_id, started_at, label)
    JOIN calls USING (call_id, started_at)
    WHERE label IS NULL OR label IS DISTINCT FROM verdict_label
    """
)
_PROMPTS = """unnest(CAST(:projects AS text[]), CAST(:groups AS text[]),
        CAST(:hashes AS bytea[])) AS wanted (project_id, group_name, prompt_hash)"""
_CONTENT = """project_id, group_name, content_hash, origin, prompt_hash, call_id, chosen,
        rejected, chosen_model, rejected_model"""
_NAMES = "feedback_id, is_good, project_id, group_name, prompt_hash, call_id, text, model"
# A ground holds as long as its word is current and, if it needs a second one, that one, too.
HOLDS = """(g.with_id = 0 OR EXISTS (
    SELECT FROM feedback other WHERE other.id = g.with_id AND other.is_current))"""
UNPAIRED = f"""
    NOT c.is_good AND f.is_current AND NOT EXISTS (
        SELECT FROM pair_grounds g WHERE g.feedback_id = c.feedback_id AND {HOLDS})"""
# What it adds it does not see itself: what it lists was there before.
_ADD_COMPLETIONS = text(
    f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:feedback_ids AS bigint[]), CAST(:goods AS boolean[]),
            CAST(:projects AS text[]), CAST(:groups AS text[]), CAST(:hashes AS bytea[]),
            CAST(:call_ids AS text[]), CAST(:texts AS bytea[]), CAST(:models AS text[]))
            AS given ({_NAMES})
    ), added AS (INSERT INTO completions ({_NAMES}) SELECT {_NAMES} FROM given)
    SELECT c.{_NAMES.replace(", ", ", c.")}
    FROM (SELECT DISTINCT project_id, group_name, prompt_hash FROM given) wanted
    JOIN completions c USING (project_id, group_name, prompt_hash)
    JOIN feedback f ON f.id = c.feedback_id
    WHERE {UNPAIRED} ORDER BY c.feedback_id LIMIT {MOST_UNPAIRED}
    """  # noqa: S608
)
_GOOD = text(
    f"""
    SELECT c.{_NAMES.replace(", ", ", c.")} FROM {_PROMPTS} CROSS JOIN LATERAL (
        SELECT completions.* FROM completions JOIN feedback f ON f.id = feedback_id
        WHERE is_good AND f.is_current AND completions.project_id = wanted.project_id
            AND group_name = wanted.group_name AND prompt_hash = wanted.prompt_hash
        ORDER BY feedback_id DESC LIMIT {_LATEST}) c
    """  # noqa: S608
)
_WANTED = """unnest(CAST(:projects AS text[]), CAST(:groups AS text[]),
        CAST(:contents AS bytea[]), CAST(:feedback_ids AS bigint[]),
        CAST(:with_ids AS bigint[])"""
# In the order of their hashes, so that two writers wait for each other in one order only.
_ADD_PAIRS = text(
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT * FROM {_WANTED}, CAST(:origins AS text[]), CAST(:hashes AS bytea[]),
            CAST(:call_ids AS text[]), CAST(:chosen AS bytea[]), CAST(:rejected AS bytea[]),
            CAST(:chosen_models AS text[]), CAST(:rejected_models AS text[]))
            AS wanted (project_id, group_name, content_hash, feedback_id, with_id, origin,
                prompt_hash, call_id, chosen, rejected, chosen_model, rejected_model)
    ), added AS (
        INSERT INTO pairs ({_CONTENT}, at)
        SELECT {_CONTENT}, :at FROM wanted ORDER BY project_id, group_name, content_hash
        ON CONFLICT (project_id, group_name, content_hash) DO NOTHING
        RETURNING id, project_id, group_name, content_hash
    ), grounded AS (
        INSERT INTO pair_grounds (pair_id, feedback_id, with_id)
        SELECT added.id, feedback_id, with_id
        FROM added JOIN wanted USING (project_id, group_name, content_hash)
        ON CONFLICT DO NOTHING)
    SELECT count(*) FROM wanted LEFT JOIN added USING (project_id, group_name, content_hash)
    WHERE added.id IS NULL
    """  # noqa: S608
)
# A statement of its own: only the next one sees what another writer has stored meanwhile.
_ADD_GROUNDS = text(
    f"""
    INSERT INTO pair_grounds (pair_id, feedback_id, with_id)
    SELECT pairs.id, wanted.feedback_id, wanted.with_id
    FROM {_WANTED})
        AS wanted (project_id, group_name, content_hash, feedback_id, with_id)
    JOIN pairs USING (project_id, group_name, content_hash)
    ON CONFLICT DO NOTHING
    """  # noqa: S608
)
_ADD_REFUSALS = text(
    """
    INSERT INTO refused_pairs (feedback_id, project_id, reason)
    SELECT * FROM unnest(CAST(:feedback_ids AS bigint[]), CAST(:projects AS text[]),
        CAST(:reasons AS text[]))
    ON CONFLICT DO NOTHING
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    """What of a call's row a lesson needs.

    Args:
        skeleton: Of the request, see `core.contents`.
        answer: JSON.
    """

    call_id: str
    project_id: str
    group: str
    surface: str
    skeleton: bytes
    answer: bytes
    model: str | None
    verdict_label: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A completion's row; `text` is a JSON string."""

    feedback_id: int
    is_good: bool
    prompt: Prompted
    call_id: str
    text: bytes
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPair:
    """A pair's row and one of its grounds; `chosen` and `rejected` are JSON strings."""

    content_hash: bytes
    origin: Origin
    prompt: Prompted
    call_id: str
    chosen: bytes
    rejected: bytes
    chosen_model: str | None
    rejected_model: str | None
    feedback_id: int
    with_id: int


async def asked(tx: AsyncConnection, wanted: Sequence[tuple[str, str | None]]) -> list[Found]:
    """Fetch calls that words are about.

    Args:
        wanted: Call ids, each with the label that was given; a call whose verdict is that
            label is left out.

    Raises:
        Invalid: One is no call id.
    """
    values = {
        "call_ids": [call_id for call_id, _ in wanted],
        "moments": [started_at_of(call_id) for call_id, _ in wanted],
        "labels": [label for _, label in wanted],
    }
    rows = await tx.execute(_ASKED, values)
    names = Found.__slots__
    return [Found(**dict(zip(names, row, strict=True))) for row in rows]


async def lock(tx: AsyncConnection, prompts: Collection[Prompted]) -> None:
    """Keep others from pairing texts of these prompts until this transaction ends.

    There are 256 locks for all prompts: the server's memory has room for some thousands,
    and a batch may be about a thousand prompts.
    """
    keys = sorted({prompt.hash[0] for prompt in prompts})  # in one order: no deadlock
    await tx.execute(_LOCK, {"class": _LOCK_CLASS, "keys": keys})


async def add_completions(tx: AsyncConnection, kept: Sequence[Kept]) -> list[Kept]:
    """Store texts that were called good or bad; the caller has locked their prompts.

    Returns:
        Texts that were rejected for the same prompts before, and have no better one:
        `MOST_UNPAIRED` at most.
    """
    values = {
        "feedback_ids": [each.feedback_id for each in kept],
        "goods": [each.is_good for each in kept],
        "call_ids": [each.call_id for each in kept],
        "texts": [each.text for each in kept],
        "models": [each.model for each in kept],
    }
    rows = await tx.execute(_ADD_COMPLETIONS, values | _columns([each.prompt for each in kept]))
    return [_kept(row) for row in rows]


async def good(tx: AsyncConnection, prompts: Collection[Prompted]) -> list[Kept]:
    """List the latest good texts for each prompt."""
    rows = await tx.execute(_GOOD, _columns(sorted(set(prompts), key=lambda p: p.hash)))
    return [_kept(row) for row in rows]


async def add_pairs(tx: AsyncConnection, kept: Sequence[KeptPair], at: datetime) -> None:
    """Store pairs that are new, and the grounds of all of them."""
    prompts = _columns([each.prompt for each in kept])
    grounds = {
        "projects": prompts["projects"],
        "groups": prompts["groups"],
        "contents": [each.content_hash for each in kept],
        "feedback_ids": [each.feedback_id for each in kept],
        "with_ids": [each.with_id for each in kept],
    }
    contents = {
        "hashes": prompts["hashes"],
        "origins": [each.origin.value for each in kept],
        "call_ids": [each.call_id for each in kept],
        "chosen": [each.chosen for each in kept],
        "rejected": [each.rejected for each in kept],
        "chosen_models": [each.chosen_model for each in kept],
        "rejected_models": [each.rejected_model for each in kept],
        "at": at,
    }
    known = (await tx.execute(_ADD_PAIRS, grounds | contents)).scalar_one()
    if known:
        await tx.execute(_ADD_GROUNDS, grounds)


async def add_refusals(tx: AsyncConnection, refusals: Sequence[tuple[int, str, str]]) -> None:
    """Store why words gave no pair.

    Args:
        refusals: The word's id, its project and the reason.
    """
    ids, projects, reasons = zip(*refusals, strict=True)
    values = {"feedback_ids": list(ids), "projects": list(projects), "reasons": list(reasons)}
    await tx.execute(_ADD_REFUSALS, values)


def _kept(row: Row[Any]) -> Kept:
    prompt = Prompted(row.project_id, row.group_name, bytes(row.prompt_hash))
    return Kept(row.feedback_id, row.is_good, prompt, row.call_id, bytes(row.text), row.model)


def _columns(prompts: Sequence[Prompted]) -> dict[str, list[object]]:
    return {
        "projects": [each.project_id for each in prompts],
        "groups": [each.group for each in prompts],
        "hashes": [each.hash for each in prompts],
    }
