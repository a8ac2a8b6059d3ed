"""What of stored calls decides what may be said of them?"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of

_SUBJECTS = text(
    """
    SELECT call_id, project_id, group_name, task, generation, is_drawn,
        experiment_id IS NOT NULL, CASE WHEN is_wanted THEN answer END
    FROM calls JOIN unnest(CAST(:call_ids AS text[]), CAST(:moments AS timestamptz[]),
        CAST(:wanted AS boolean[])) AS sought (call_id, started_at, is_wanted)
        USING (call_id, started_at)
    """
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a call decides what may be said of it.

    Args:
        is_counted: It takes part in an experiment.
        answer: JSON; None where it was not asked for.
    """

    call_id: str
    project_id: str
    group: str
    task: str
    generation: int
    is_drawn: bool
    is_counted: bool
    answer: bytes | None


async def of_calls(
    tx: AsyncConnection, call_ids: Collection[str], answers_of: Collection[str] = ()
) -> dict[str, Subject]:
    """Fetch what there is to know of calls, by their ids; the unknown are absent.

    Args:
        answers_of: Those of which the answer is wanted, too.

    Raises:
        Invalid: One is no call id.
    """
    ids = sorted(call_ids)
    values = {
        "call_ids": ids,
        "moments": [started_at_of(call_id) for call_id in ids],
        "wanted": [call_id in answers_of for call_id in ids],
    }
    return {row[0]: Subject(*row) for row in await tx.execute(_SUBJECTS, values)}


async def calls_answered(
    tx: AsyncConnection, response_ids: Collection[str], project_id: str | None
) -> dict[str, list[str]]:
    """Find the ids of the calls whose answers bore some ids, at most two of each.

    Args:
        project_id: Only this project's calls; None for all.
    """
    if not response_ids:
        return {}
    statement = text(
        """
        SELECT sought.response_id, matched.call_id
        FROM unnest(CAST(:response_ids AS text[])) AS sought (response_id), LATERAL (
            SELECT call_id FROM calls WHERE calls.response_id = sought.response_id
                AND project_id = coalesce(CAST(:project_id AS text), project_id)
            LIMIT 2) matched
        """
    )
    values = {"response_ids": sorted(response_ids), "project_id": project_id}
    found: dict[str, list[str]] = {}
    for response_id, call_id in await tx.execute(statement, values):
        found.setdefault(response_id, []).append(call_id)
    return found


async def labels(
    tx: AsyncConnection, groups: Collection[tuple[int, str]]
) -> dict[tuple[int, str], Sequence[str]]:
    """Fetch what groups' judges could answer, each under a generation of the routes.

    A group is absent when that generation, or the group in it, is not on record.
    """
    if not groups:
        return {}
    statement = text(
        "SELECT number, wanted, routes #> ARRAY['groups', wanted, 'labels'] FROM generations "
        "JOIN unnest(CAST(:numbers AS bigint[]), CAST(:names AS text[])) "
        "AS sought (number, wanted) USING (number)"
    )
    values = {"numbers": [each[0] for each in groups], "names": [each[1] for each in groups]}
    found: Any = await tx.execute(statement, values)
    return {(number, group): known for number, group, known in found if known}
