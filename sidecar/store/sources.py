"""Which words, and which calls they were said of, make the rows of a dataset?

A word counts as of another word's id: it is not newer, and no word that is not newer has
superseded it. So what counts as of an id never changes, whenever it is asked for, and no
snapshot is needed. What counts is chosen into a table of the transaction's own, then read
page by page together with its calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.datasets import Kind

# Statements over all of a project's words take longer than a request's should.
STATEMENT_TIMEOUT = "30min"
IDLE_TIMEOUT = "2h"  # the splits are computed within the transaction

_CHOSEN = """
CREATE TEMPORARY TABLE chosen_sources (
    item bigint, call_id text, started_at timestamptz, chosen bytea, rejected bytea,
    is_good boolean, label text, final text, comment text, origin text, model text,
    sources text[], reviewers bigint, reason text
) ON COMMIT DROP"""

_WORDS = """
WITH words AS MATERIALIZED (
    SELECT id, call_id, kind, name, source, reviewer, label, value, text, comment
    FROM feedback f
    WHERE project_id = :project_id AND id <= :as_of AND source = ANY(:sources)
        AND NOT EXISTS (
            SELECT FROM feedback later WHERE later.supersedes = f.id AND later.id <= :as_of)
), scores AS (
    SELECT call_id, avg(value) AS score FROM words
    WHERE name = :score_name AND kind IN ('score', 'flag') GROUP BY call_id
), """

# A ground may need a second word, as a rejection needs the one that gave the better text.
_DPO = """
stands AS (
    SELECT g.pair_id, count(DISTINCT w.reviewer) AS votes,
        array_agg(DISTINCT w.source ORDER BY w.source) AS sources
    FROM pair_grounds g
    JOIN words w ON w.id = g.feedback_id
    JOIN pairs p ON p.id = g.pair_id AND p.project_id = :project_id
    WHERE g.with_id = 0 OR g.with_id IN (SELECT id FROM words)
    GROUP BY g.pair_id
), found AS (
    SELECT p.id AS place, ''::bytea AS place_2, p.call_id, p.group_name, p.chosen, p.rejected,
        NULL::boolean AS is_good, NULL::text AS label, NULL::text AS final,
        NULL::text AS comment, p.origin, p.rejected_model AS model,
        p.chosen_model AS other_model, s.sources, s.votes AS reviewers,
        s.votes::float8 / (s.votes + coalesce(against.votes, 0)) AS share,
        'conflict' AS disagreement
    FROM stands s
    JOIN pairs p ON p.id = s.pair_id
    LEFT JOIN pairs o ON o.project_id = p.project_id AND o.group_name = p.group_name
        -- The opposite's own hash, see `core.preferences.content_hash`.
        AND o.content_hash = sha256(p.prompt_hash || sha256(p.rejected) || sha256(p.chosen))
    LEFT JOIN stands against ON against.pair_id = o.id
    WHERE :any_origin OR p.origin = ANY(:origins)
)"""

_KTO = """
judged AS (
    SELECT min(c.feedback_id) AS place, c.text AS place_2, c.group_name, c.prompt_hash,
        (array_agg(c.call_id ORDER BY c.feedback_id))[1] AS call_id,
        (array_agg(c.model ORDER BY c.feedback_id))[1] AS model,
        array_agg(DISTINCT w.source ORDER BY w.source) AS sources,
        count(DISTINCT w.reviewer) AS reviewers,
        count(DISTINCT w.reviewer) FILTER (WHERE c.is_good) AS good,
        count(DISTINCT w.reviewer) FILTER (WHERE NOT c.is_good) AS bad
    FROM completions c JOIN words w ON w.id = c.feedback_id
    WHERE c.project_id = :project_id
    GROUP BY c.group_name, c.prompt_hash, c.text
), found AS (
    SELECT place, place_2, call_id, group_name, place_2 AS chosen, NULL::bytea AS rejected,
        good > bad AS is_good, NULL::text AS label, NULL::text AS final,
        NULL::text AS comment, NULL::text AS origin, model, NULL::text AS other_model,
        sources, reviewers, greatest(good, bad)::float8 / (good + bad) AS share,
        'conflict' AS disagreement
    FROM judged
)"""

_SFT = """
votes AS (
    SELECT call_id, label, count(DISTINCT reviewer) AS votes,
        array_agg(DISTINCT source ORDER BY source) AS sources,
        (array_agg(comment ORDER BY id DESC) FILTER (WHERE comment IS NOT NULL))[1] AS comment
    FROM words WHERE kind = 'label' GROUP BY call_id, label
), labelled AS (
    SELECT DISTINCT ON (call_id) call_id, label, NULL::text AS final, comment,
        NULL::text AS kind, sources, votes AS reviewers,
        votes::float8 / sum(votes) OVER (PARTITION BY call_id) AS share
    FROM votes ORDER BY call_id, votes DESC, label
), drafted AS (
    SELECT call_id, NULL::text AS label, (array_agg(text ORDER BY id DESC))[1] AS final,
        NULL::text AS comment, (array_agg(kind ORDER BY id DESC))[1] AS kind,
        array_agg(DISTINCT source ORDER BY source) AS sources,
        count(DISTINCT reviewer) AS reviewers,
        -- Without a wish, what was said last is what counts.
        CASE WHEN CAST(:agreement AS float8) IS NULL THEN 1 ELSE
            count(DISTINCT reviewer) FILTER (WHERE kind <> 'reject')::float8
            / count(DISTINCT reviewer) END AS share
    FROM words WHERE kind IN ('approve', 'edit', 'reject') GROUP BY call_id
), found AS (
    SELECT 0 AS place, convert_to(call_id, 'UTF8') AS place_2, call_id,
        NULL::text AS group_name, NULL::bytea AS chosen, NULL::bytea AS rejected,
        NULL::boolean AS is_good, label, final, comment, kind AS origin, NULL::text AS model,
        NULL::text AS other_model, sources, reviewers, share, 'tie' AS disagreement
    FROM (SELECT * FROM labelled UNION ALL
        SELECT * FROM drafted WHERE kind <> 'reject') AS either
)"""

# What a call that is gone was, cannot be said; it is counted whatever is asked for.
_INTO = """
INSERT INTO chosen_sources
SELECT row_number() OVER (ORDER BY place, place_2), f.call_id, c.started_at, chosen, rejected,
    is_good, label, final, comment, origin,
    CASE WHEN :is_sft THEN coalesce(c.provider_model, c.served_deployment) ELSE f.model END,
    sources, reviewers,
    CASE WHEN share <= 0.5 OR share < coalesce(CAST(:agreement AS float8), 0)
            THEN disagreement
        WHEN CAST(:score AS bigint) IS NOT NULL
            AND (s.score IS NULL OR s.score < CAST(:score AS bigint)) THEN 'low_score'
        WHEN c.call_id IS NULL THEN 'call_gone' END
FROM found f
LEFT JOIN calls c ON c.call_id = f.call_id
LEFT JOIN scores s ON s.call_id = f.call_id
WHERE (CAST(:group AS text) IS NULL OR coalesce(f.group_name, c.group_name, :group) = :group)
    AND (CAST(:arm AS text) IS NULL OR coalesce(c.assigned_arm, :arm) = :arm)
    AND (CAST(:since AS timestamptz) IS NULL OR coalesce(c.started_at, :since) >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR c.started_at IS NULL OR c.started_at < :until)
    AND (CAST(:model AS text) IS NULL OR :model = CASE WHEN :is_sft
        THEN coalesce(c.provider_model, c.served_deployment, :model)
        WHEN f.other_model = :model THEN f.other_model ELSE f.model END)"""

_FOUND = {Kind.SFT: _SFT, Kind.DPO: _DPO, Kind.KTO: _KTO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to choose; the fields are those of a spec.

    Args:
        score: In millionths.
    """

    kind: Kind
    project_id: str
    as_of: int
    sources: Sequence[str]
    origins: Sequence[str]
    group: str | None
    arm: str | None
    model: str | None
    since: datetime | None
    until: datetime | None
    agreement: float | None
    score_name: str | None
    score: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """What a row is made of.

    Args:
        item: Its place among all.
        chosen, rejected: JSON strings; None when they are to be found in the answer.
        final: What the answer was edited to; None when it was not.
        model: What wrote the text; of a pair, the rejected one. None: a person did.
        sources: Of the words that it stands on. `reviewers`: how many people said them.
        skeleton: Of the request, see `core.contents`.
        answer: JSON.
    """

    item: int
    call_id: str
    chosen: bytes | None
    rejected: bytes | None
    is_good: bool | None
    label: str | None
    final: str | None
    comment: str | None
    origin: str | None
    model: str | None
    sources: tuple[str, ...]
    reviewers: int
    surface: str
    unit_id: str
    verdict_label: str | None
    skeleton: bytes
    answer: bytes


async def newest(tx: AsyncConnection) -> int:
    """Say the id of the newest word, 0 when there is none.

    Words that are being said meanwhile are waited for: afterwards no word of a smaller id can
    appear. So this is to be the whole transaction.
    """
    await tx.execute(text("LOCK TABLE feedback IN SHARE MODE"))
    return int(
        (await tx.execute(text("SELECT coalesce(max(id), 0) FROM feedback"))).scalar_one()
    )


async def choose(tx: AsyncConnection, wanted: Wanted) -> tuple[int, dict[str, int]]:
    """Choose what counts; `page` reads it within the same transaction.

    Returns:
        How many items there are, numbered from 1; and how many of them are left out, by the
        reason.
    """
    for setting, value in (
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
    ):
        await tx.execute(text(f"SET LOCAL {setting} = '{value}'"))
    await tx.execute(text(_CHOSEN))
    values = {name: getattr(wanted, name) for name in Wanted.__slots__ if name != "kind"}
    values |= {"is_sft": wanted.kind is Kind.SFT}
    if wanted.kind is Kind.DPO:
        values |= {"any_origin": not wanted.origins}
    else:
        del values["origins"]
    await tx.execute(text(_WORDS + _FOUND[wanted.kind] + _INTO), values)
    await tx.execute(text("CREATE INDEX ON chosen_sources (item)"))
    await tx.execute(text("ANALYZE chosen_sources"))
    found = await tx.execute(
        text("SELECT reason, count(*) FROM chosen_sources GROUP BY reason ORDER BY reason")
    )
    counts = {reason: count for reason, count in found}  # noqa: C416  (a row is no pair)
    total = sum(counts.values())
    counts.pop(None, None)
    return total, counts


async def page(tx: AsyncConnection, after: int, last: int) -> list[Source]:
    """Read what was chosen and is not left out, in order, with its calls.

    Args:
        after: The item before the first one to read. `last`: the last one.
    """
    statement = text(
        """
        SELECT f.item, f.call_id, f.chosen, f.rejected, f.is_good, f.label, f.final,
            f.comment, f.origin, f.model, f.sources, f.reviewers, c.surface, c.unit_id,
            c.verdict_label, c.request, c.answer
        FROM chosen_sources f JOIN calls c USING (call_id, started_at)
        WHERE f.item > :after AND f.item <= :last AND f.reason IS NULL ORDER BY f.item
        """
    )
    found = await tx.execute(statement, {"after": after, "last": last})
    return [_source(row) for row in found]


def _source(row: Row[Any]) -> Source:
    values: dict[str, Any] = dict(zip(Source.__slots__, row, strict=True))
    return Source(**values | {"sources": tuple(values["sources"])})
