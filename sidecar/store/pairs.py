"""Which pairs are there, on what words do they stand, and how many of each kind?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.pairs import Ground, PairFilter, PairSummary
from sidecar.store.preferences import HOLDS, UNPAIRED

_STANDS = f"""EXISTS (
    SELECT FROM pair_grounds g JOIN feedback f ON f.id = g.feedback_id
    WHERE g.pair_id = p.id AND f.is_current AND {HOLDS})"""
# Found by its hash, see `core.preferences.content_hash`.
_OPPOSITE_HASH = "sha256(p.prompt_hash || sha256(p.rejected) || sha256(p.chosen))"
_OPPOSITE = f"""o.project_id = p.project_id AND o.group_name = p.group_name
    AND o.content_hash = {_OPPOSITE_HASH}"""
_PAGE = f"""
    SELECT p.id, p.project_id, p.group_name, p.origin, p.call_id, p.prompt_hash, p.chosen,
        p.rejected, p.chosen_model, p.rejected_model, p.at, o.id
    FROM pairs p LEFT JOIN pairs o ON {_OPPOSITE}
    WHERE true {{only}} ORDER BY p.id DESC LIMIT :limit
"""  # noqa: S608
_ONLY = {
    "before": "p.id < :before",
    "project_id": "p.project_id = :project_id",
    "group": "p.group_name = :group",
    "origin": "p.origin = :origin",
    "is_current": f"{_STANDS} = :is_current",
}
_GROUNDS = text(
    f"""
    SELECT g.pair_id, g.feedback_id, nullif(g.with_id, 0), f.kind, f.source, f.reviewer,
        f.is_current AND {HOLDS}
    FROM pair_grounds g JOIN feedback f ON f.id = g.feedback_id
    WHERE g.pair_id = ANY(CAST(:ids AS bigint[])) ORDER BY g.feedback_id, g.with_id
    """  # noqa: S608
)
_MINE = "(CAST(:project_id AS text) IS NULL OR {}.project_id = :project_id)"
_BY_ORIGIN = text(
    f"""
    SELECT origin, coalesce(standing.count, 0), everything.count - coalesce(standing.count, 0)
    FROM (SELECT origin, count(*) FROM pairs p
        WHERE {_MINE.format("p")} GROUP BY origin) everything
    LEFT JOIN (SELECT origin, count(*) FROM pairs p
        WHERE {_MINE.format("p")} AND {_STANDS} GROUP BY origin) standing USING (origin)
    """  # noqa: S608
)
_BY_REASON = text(
    f"""
    SELECT reason, count(*) FROM refused_pairs r JOIN feedback f ON f.id = r.feedback_id
    WHERE f.is_current AND {_MINE.format("r")} GROUP BY reason
    """  # noqa: S608
)
# A prompt of one pair has no conflict, and most have one. Two pairs are one conflict.
# Materialised, for a planner that has not seen the rows yet would compare all with all.
_CONFLICTS = text(
    f"""
    WITH several AS MATERIALIZED (
        SELECT project_id, group_name, prompt_hash FROM pairs p WHERE {_MINE.format("p")}
        GROUP BY project_id, group_name, prompt_hash HAVING count(*) > 1
    ), standing AS MATERIALIZED (
        SELECT p.id, project_id, group_name, content_hash, {_OPPOSITE_HASH} AS opposite
        FROM pairs p JOIN several USING (project_id, group_name, prompt_hash)
        WHERE {_STANDS})
    SELECT count(*) FROM standing one JOIN standing other
        ON (other.project_id, other.group_name, other.content_hash)
            = (one.project_id, one.group_name, one.opposite)
    WHERE one.id < other.id
    """  # noqa: S608
)
_COUNTS = text(
    f"""
    SELECT (SELECT count(*) FROM completions c JOIN feedback f ON f.id = c.feedback_id
            WHERE {UNPAIRED} AND {_MINE.format("c")}),
        (SELECT count(*) FROM feedback f WHERE f.kind = 'choice' AND f.is_current
            AND f.value = 500000 AND {_MINE.format("f")})
    """  # noqa: S608
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPair:
    """A pair's row; `chosen` and `rejected` are JSON strings.

    Args:
        opposite_id: Of the pair with the two texts changed round; None when there is none.
    """

    id: int
    project_id: str
    group: str
    origin: str
    call_id: str
    prompt_hash: bytes
    chosen: bytes
    rejected: bytes
    chosen_model: str | None
    rejected_model: str | None
    at: datetime
    opposite_id: int | None


async def page(
    tx: AsyncConnection, only: PairFilter, *, before: int | None, limit: int
) -> list[FoundPair]:
    """List pairs, newest first.

    Args:
        before: Only what has a smaller id.
    """
    asked = {"before": before, **{name: getattr(only, name) for name in only.__slots__}}
    given = {name: value for name, value in asked.items() if value is not None}
    statement = _PAGE.format(only="".join(f" AND {_ONLY[name]}" for name in given))
    rows = await tx.execute(text(statement), {**given, "limit": limit})
    return [FoundPair(**dict(zip(FoundPair.__slots__, row, strict=True))) for row in rows]


async def grounds(tx: AsyncConnection, pair_ids: Sequence[int]) -> dict[int, list[Ground]]:
    """Fetch what pairs stand on, in the order in which it was said."""
    found: dict[int, list[Ground]] = {pair_id: [] for pair_id in pair_ids}
    for pair_id, *values in await tx.execute(_GROUNDS, {"ids": list(pair_ids)}):
        ground = Ground(**dict(zip(Ground.__slots__, values, strict=True)))
        found[pair_id].append(ground)
    return found


async def summary(tx: AsyncConnection, project_id: str | None) -> PairSummary:
    """Count what there is to learn from, of a project or, with None, of all."""
    mine = {"project_id": project_id}
    origins = (await tx.execute(_BY_ORIGIN, mine)).all()
    reasons = (await tx.execute(_BY_REASON, mine)).all()
    conflicts = (await tx.execute(_CONFLICTS, mine)).scalar_one()
    unpaired, ties = (await tx.execute(_COUNTS, mine)).one()
    return PairSummary(
        pairs={origin: current for origin, current, _ in origins if current},
        superseded=sum(row[2] for row in origins),
        unpaired=unpaired,
        ties=ties,
        conflicts=conflicts,
        refused={reason: count for reason, count in reasons},  # noqa: C416  (rows)
    )
