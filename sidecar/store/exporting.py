"""How do a dataset's rows, and judgments, leave PostgreSQL? Piece by piece, in their order.

Each piece is a statement of its own that begins where the last one ended, so that a reader
who is slow, or gone, holds no connection, no transaction and no snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import asyncpg
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

ROWS_AT_ONCE = 4_000
BYTES_AT_ONCE = 4_000_000
STATEMENT_TIMEOUT = "30min"  # a million calls may have to be looked at for one judgment
JUDGMENTS_AT_ONCE = 200  # their requests are put together from parts of any size

# The rows that begin before so many bytes: one is always among them, however long it is.
_ROWS = f"""
    SELECT position, prompt, tools, chosen, rejected, is_good FROM (
        SELECT *, sum(size) OVER places - size AS before FROM (
            SELECT *, octet_length(prompt) + octet_length(chosen)
                + coalesce(octet_length(rejected), 0) + coalesce(octet_length(tools), 0) AS size
            FROM dataset_rows
            WHERE number = $1 AND position > $2 AND split = $3
            ORDER BY position LIMIT {ROWS_AT_ONCE}
        ) next WINDOW places AS (ORDER BY position ROWS UNBOUNDED PRECEDING)
    ) measured WHERE before < {BYTES_AT_ONCE} ORDER BY position
    """  # noqa: S608 - made of numbers of ours

# What most reviewers say of a judge's answer, if more than half of them agree.
_JUDGMENTS = """
    SELECT calls.call_id, calls.started_at, group_name, unit_id, assigned_arm, provider_model,
        surface, request, answer, verdict_label, verdict_confidence, verdict_reasoning,
        verdict_failure, said.label AS human_label, coalesce(said.reviewers, 0) AS reviewers
    FROM calls LEFT JOIN LATERAL (
        SELECT CASE WHEN 2 * max(votes) > max(all_of_them)
                THEN (array_agg(label ORDER BY votes DESC))[1] END AS label,
            max(all_of_them) AS reviewers
        FROM (
            SELECT label, count(DISTINCT reviewer) AS votes,
                CAST(sum(count(DISTINCT reviewer)) OVER () AS int) AS all_of_them
            FROM feedback
            WHERE feedback.call_id = calls.call_id AND is_current AND kind = 'label'
                AND source IN ('audit', 'correction', 'review')
            GROUP BY label
        ) counted
    ) said ON true
    WHERE project_id = :project_id AND task = 'judge' AND outcome <> 'failed'
        AND (CAST(:group AS text) IS NULL OR group_name = :group)
        AND (CAST(:since AS timestamptz) IS NULL OR started_at >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR started_at < :until)
        AND calls.call_id > :after
    ORDER BY calls.call_id LIMIT :limit
    """


@dataclass(frozen=True, slots=True)
class JudgmentFilter:
    """Which judgments are wanted; what is None leaves out nothing.

    Args:
        since, until: Of the calls' starts; `until` itself is left out.
    """

    project_id: str
    group: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def be_patient(tx: AsyncConnection) -> None:
    """Let a transaction's statements take as long as those over all of a project do."""
    await tx.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))


async def rows(
    tx: AsyncConnection, number: int, split: str, after: int
) -> Sequence[Sequence[Any]]:
    """Fetch the next rows of a split, in order.

    Args:
        after: Position of the last one fetched; -1 for the first.

    Returns:
        Position, prompt, tools, chosen, rejected and is_good of each; nothing at the end.
    """
    # The driver itself: SQLAlchemy's own way takes twice as long for rows by the million.
    connection = cast("asyncpg.Connection", (await tx.get_raw_connection()).driver_connection)
    found: Any = await connection.fetch(_ROWS, number, after, split)
    return cast("Sequence[Sequence[Any]]", found)


async def judgments(
    tx: AsyncConnection, only: JudgmentFilter, after: str
) -> Sequence[RowMapping]:
    """Fetch the next answered calls of judges, by call id, with what people said of them.

    Args:
        after: The last call fetched; the empty text for the first.
    """
    values: dict[str, Any] = {
        "project_id": only.project_id,
        "group": only.group,
        "since": only.since,
        "until": only.until,
        "after": after,
        "limit": JUDGMENTS_AT_ONCE,
    }
    return (await tx.execute(text(_JUDGMENTS), values)).mappings().all()
