"""Which calls did two or more people judge, and what did each of them say?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.agreement import Judged

_MINE = "(CAST(:project_id AS text) IS NULL OR f.project_id = :project_id)"
# A reviewer who said it both as an audit and unasked is counted once, by the later word.
_TWICE = f"""
    WITH said AS (
        SELECT DISTINCT ON (call_id, name, reviewer) call_id, name, reviewer, started_at,
            project_id, other_call_id, label, value
        FROM feedback f WHERE is_current AND {{kept}} AND {_MINE}
        ORDER BY call_id, name, reviewer, id DESC
    ), twice AS (
        SELECT call_id, name, min(started_at) AS started_at, min(project_id) AS project_id,
            min(other_call_id) AS other_call_id, {{labels}} AS labels
        FROM said GROUP BY call_id, name HAVING count(*) > 1)
    SELECT {{told}} FROM twice t
    JOIN calls c ON c.call_id = t.call_id AND c.started_at = t.started_at {{others}}
    WHERE CAST(:groups AS text[]) IS NULL OR c.group_name = ANY(CAST(:groups AS text[]))
    ORDER BY t.call_id DESC, t.name LIMIT :limit
"""  # noqa: S608 - made of strings of ours
_LABELS = _TWICE.format(
    kept="kind = 'label' AND source = 'audit'",
    labels="jsonb_object_agg(reviewer, label)",
    told="labels",
    others="",
)
# Of two calls the one with the smaller id is named first, which means nothing: a choice is
# told by the arms, so that it means the same from prompt to prompt.
_CHOICES = _TWICE.format(
    kept="kind = 'choice' AND source <> 'judge'",
    labels="jsonb_object_agg(reviewer, value)",
    told="""(SELECT jsonb_object_agg(key, CASE CAST(value AS text)
            WHEN '1000000' THEN 'arm ' || c.assigned_arm
            WHEN '0' THEN CASE WHEN o.assigned_arm = c.assigned_arm THEN 'other of '
                ELSE 'arm ' END || o.assigned_arm
            ELSE 'tie' END) FROM jsonb_each(labels))""",
    others="JOIN calls o ON o.project_id = t.project_id AND o.call_id = t.other_call_id",
)
_STATEMENTS = {Judged.LABELS: text(_LABELS), Judged.CHOICES: text(_CHOICES)}


async def judged_twice(
    tx: AsyncConnection,
    judged: Judged,
    *,
    project_id: str | None,
    groups: Collection[str] | None,
    limit: int,
) -> list[Mapping[str, str]]:
    """Fetch by reviewer what people say now of what two or more of them judged.

    The newest calls first, at most so many.
    """
    wanted = None if groups is None else sorted(groups)
    values = {"project_id": project_id, "groups": wanted, "limit": limit}
    found: Sequence[Any] = (await tx.execute(_STATEMENTS[judged], values)).scalars().all()
    return list(found)
