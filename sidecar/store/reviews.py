"""Which calls wait for a reviewer, and who is looking at which now?

What was said of a call is asked call by call, by scalar subqueries: the planner cannot turn
them into a join that reads all feedback there is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import new_call_id, started_at_of
from sidecar.core.reviewing import ANSWERED, WINDOW, State, below

_LOCK_CLASS = 0x510_0007  # of the advisory locks under which calls are handed out
# The newest drafts of a group that are looked through for one that waits. Where all of so
# many have been answered, older ones are forgotten rather than searched for ever again.
READ_DRAFTS = 50_000

_OUTCOMES = ", ".join(f"'{outcome}'" for outcome in sorted(ANSWERED))
# An answer is kept as JSON whose text comes first; this one has a text of a character or more.
_WRITTEN = r"""(substring(answer FROM 1 FOR 9) = '{"text":"'
    AND substring(answer FROM 10 FOR 1) <> '"')"""
# These are few, so they are read once and hashed.
_FREE = """
    call_id NOT IN (SELECT held.call_id FROM review_locks held
        WHERE held.until > :now AND held.reviewer <> :reviewer)
    AND call_id NOT IN (SELECT skipped.call_id FROM review_skips skipped
        WHERE skipped.reviewer = :reviewer AND skipped.until > :now)"""
_AUDITS = """
    FROM feedback said WHERE said.call_id = calls.call_id AND said.is_current
        AND said.source = 'audit' AND said.name IN ('label', 'approved')"""
_DECISIONS = """
    FROM feedback said WHERE said.call_id = calls.call_id AND said.is_current
        AND said.name = 'approved'"""
# The same as `core.reviewing.is_double`.
_HASH = """CAST(CAST('x' || substring(encode(sha256(convert_to('double:' || call_id, 'UTF8')),
    'hex') FROM 1 FOR 8) AS bit(32)) AS bigint)"""
_MINE = "(CAST(:project_id AS text) IS NULL OR project_id = :project_id)"
_IN_GROUPS = "(CAST(:groups AS text[]) IS NULL OR group_name = ANY(CAST(:groups AS text[])))"

_AUDIT_IDS = text(
    f"""
    SELECT waiting.call_id FROM experiments, LATERAL (
        SELECT call_id FROM calls
        WHERE experiment_id = experiments.id AND is_drawn AND {_MINE}
            AND coalesce((SELECT CASE WHEN bool_or(said.reviewer = :reviewer) THEN 2
                ELSE count(DISTINCT said.reviewer) END {_AUDITS}), 0)
                < CASE WHEN task = 'judge' AND {_HASH} < :double THEN 2 ELSE 1 END
            AND {_FREE}
        ORDER BY call_id LIMIT :limit) waiting
    WHERE (ended_at IS NULL OR ended_at > :since) AND {_IN_GROUPS}
    ORDER BY waiting.call_id LIMIT :limit
    """  # noqa: S608 - made of strings of ours
)
# Each step finds the next project and group by the index, whatever lies between.
_NEXT_QUEUE = (
    "SELECT project_id, group_name FROM calls WHERE task = 'draft' {after} "
    "ORDER BY project_id, group_name LIMIT 1"
)
_DRAFT_IDS = text(
    f"""
    WITH RECURSIVE queues AS (
        ({_NEXT_QUEUE.format(after="")}) UNION ALL
        SELECT following.* FROM queues, LATERAL ({
        _NEXT_QUEUE.format(
            after="AND (project_id, group_name) > (queues.project_id, queues.group_name)"
        )
    }
        ) following)
    SELECT waiting.call_id FROM queues, LATERAL (
        SELECT call_id FROM (
            SELECT call_id, outcome, answer FROM calls
            WHERE task = 'draft' AND project_id = queues.project_id
                AND group_name = queues.group_name
                AND call_id > :oldest AND started_at > :since
            ORDER BY call_id DESC LIMIT {READ_DRAFTS}) calls
        WHERE outcome IN ({_OUTCOMES}) AND {_WRITTEN}
            AND (SELECT count(*) {_DECISIONS}) = 0 AND {_FREE}
        ORDER BY call_id DESC LIMIT :limit) waiting
    WHERE {_MINE} AND {_IN_GROUPS}
    ORDER BY waiting.call_id DESC LIMIT :limit
    """  # noqa: S608 - made of strings of ours
)
_STATE = text(
    f"""
    SELECT call_id, project_id, group_name, task, generation, outcome, is_drawn, request,
        answer, started_at > :since AS is_recent, {_WRITTEN} AS is_written,
        ARRAY(SELECT DISTINCT said.reviewer {_AUDITS}) AS audited_by,
        ARRAY(SELECT DISTINCT said.reviewer {_DECISIONS}) AS decided_by,
        (SELECT held.reviewer FROM review_locks held
            WHERE held.call_id = calls.call_id AND held.until > :now) AS holder,
        EXISTS (SELECT FROM review_skips skipped WHERE skipped.call_id = calls.call_id
            AND skipped.reviewer = :reviewer AND skipped.until > :now) AS is_skipped
    FROM calls WHERE call_id = :call_id AND started_at = :moment
    """  # noqa: S608 - made of strings of ours
)
_HELD = text(
    f"""
    SELECT call_id FROM review_locks
    WHERE reviewer = :reviewer AND until > :now AND {_MINE} ORDER BY until, call_id
    """  # noqa: S608 - made of strings of ours
)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for something to review.

    Args:
        project_id: Only this project's calls; None for all.
        groups: Only these groups' calls; None for all.
        double: The share of judges' drawn calls that two people label.
    """

    reviewer: str
    project_id: str | None
    groups: Collection[str] | None
    double: float
    now: datetime

    @property
    def values(self) -> dict[str, Any]:
        """What the statements need."""
        since = self.now - WINDOW
        return {
            "reviewer": self.reviewer,
            "project_id": self.project_id,
            "groups": None if self.groups is None else sorted(self.groups),
            "double": below(self.double),
            "now": self.now,
            "since": since,
            "oldest": new_call_id(since, bytes),
        }


@dataclass(frozen=True, slots=True)
class Looked:
    """A call as the queue sees it.

    Args:
        skeleton: Of the request, see `core.contents`.
        answer: JSON.
        decided_by: Who has said something of it that counts for the queue.
        holder: Who holds it now; None for nobody.
        is_skipped: By who asks, not long ago.
    """

    state: State
    project_id: str
    group: str
    generation: int
    skeleton: bytes
    answer: bytes
    decided_by: Collection[str]
    holder: str | None
    is_skipped: bool


async def held(tx: AsyncConnection, asking: Asking) -> list[str]:
    """List the calls that who asks holds, the one held longest first."""
    return list((await tx.execute(_HELD, asking.values)).scalars())


async def audits(tx: AsyncConnection, asking: Asking, limit: int) -> list[str]:
    """List drawn calls that wait for who asks, oldest first.

    Of experiments that run, or have ended within `WINDOW`.
    """
    found = await tx.execute(_AUDIT_IDS, {**asking.values, "limit": limit})
    return list(found.scalars())


async def drafts(tx: AsyncConnection, asking: Asking, limit: int) -> list[str]:
    """List drafts that nobody has decided on, newest first, of the last `WINDOW`."""
    found = await tx.execute(_DRAFT_IDS, {**asking.values, "limit": limit})
    return list(found.scalars())


async def try_to_claim(tx: AsyncConnection, call_id: str) -> bool:
    """Keep others from taking or answering a call in this moment, until the transaction ends.

    Returns:
        False when somebody else is at it.
    """
    statement = text("SELECT pg_try_advisory_xact_lock(:class, hashtext(:call_id))")
    values = {"class": _LOCK_CLASS, "call_id": call_id}
    return bool((await tx.execute(statement, values)).scalar_one())


async def claim(tx: AsyncConnection, call_id: str) -> None:
    """Wait until nobody else takes or answers a call, and keep them from it."""
    statement = text("SELECT pg_advisory_xact_lock(:class, hashtext(:call_id))")
    await tx.execute(statement, {"class": _LOCK_CLASS, "call_id": call_id})


async def look(tx: AsyncConnection, call_id: str, asking: Asking) -> Looked | None:
    """Fetch what decides about a call; None when there is no such call.

    Raises:
        Invalid: This is no call id.
    """
    values = {**asking.values, "call_id": call_id, "moment": started_at_of(call_id)}
    found = (await tx.execute(_STATE, values)).mappings().one_or_none()
    return None if found is None else _looked(found)


async def lock(tx: AsyncConnection, looked: Looked, reviewer: str, until: datetime) -> None:
    """Hand a call to a reviewer; the caller has claimed it, and nobody else holds it."""
    statement = text(
        "INSERT INTO review_locks (call_id, project_id, reviewer, until) "
        "VALUES (:call_id, :project_id, :reviewer, :until) ON CONFLICT (call_id) "
        "DO UPDATE SET reviewer = excluded.reviewer, until = excluded.until"
    )
    values = {
        "call_id": looked.state.call_id,
        "project_id": looked.project_id,
        "reviewer": reviewer,
        "until": until,
    }
    await tx.execute(statement, values)


async def release(tx: AsyncConnection, call_id: str, asking: Asking) -> None:
    """Let go of a call that who asks holds, and of all that was held far too long."""
    statement = text(
        "DELETE FROM review_locks WHERE call_id IN (SELECT call_id FROM review_locks "
        "WHERE (call_id = :call_id AND reviewer = :reviewer) OR until < :since "
        "FOR UPDATE SKIP LOCKED)"
    )
    values = asking.values
    wanted = {name: values[name] for name in ("reviewer", "since")}
    await tx.execute(statement, {**wanted, "call_id": call_id})


async def skip(
    tx: AsyncConnection, call_id: str, reviewer: str, now: datetime, until: datetime
) -> None:
    """Keep a call from a reviewer for a while; what ran out of the same is forgotten."""
    forget = text("DELETE FROM review_skips WHERE reviewer = :reviewer AND until <= :now")
    await tx.execute(forget, {"reviewer": reviewer, "now": now})
    keep = text(
        "INSERT INTO review_skips (reviewer, call_id, until) "
        "VALUES (:reviewer, :call_id, :until) ON CONFLICT (reviewer, call_id) "
        "DO UPDATE SET until = excluded.until"
    )
    await tx.execute(keep, {"reviewer": reviewer, "call_id": call_id, "until": until})


def _looked(found: RowMapping) -> Looked:
    state = State(
        call_id=found["call_id"],
        task=found["task"],
        outcome=found["outcome"],
        is_drawn=found["is_drawn"],
        is_written=found["is_written"],
        is_recent=found["is_recent"],
        audited_by=frozenset(found["audited_by"]),
        is_decided=bool(found["decided_by"]),
    )
    return Looked(
        state,
        found["project_id"],
        found["group_name"],
        found["generation"],
        bytes(found["request"]),
        bytes(found["answer"]),
        frozenset(found["audited_by"]) | frozenset(found["decided_by"]),
        found["holder"],
        found["is_skipped"],
    )
