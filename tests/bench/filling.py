"""What does a large experiment look like? Calls and labels by the million, made in SQL.

Two arms and the stages of a ramp; three calls of ten come from units that were seen before;
one readable answer of ten is drawn for the audit, and three of five of these are labelled.
Everything follows from the call's number, so that more calls can be added later.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store import recount, totals
from sidecar.store.database import transaction

SHARES_BP = (100, 500, 2500, 5000)  # the canary's, stage by stage
_AT_ONCE = 250_000  # calls a transaction
_EPOCH = 1

# A number in [0, 1) that follows from another number and a place in the dice.
_DICE = "((hashint8extended({of}, {place}) & 1048575) / 1048576.0)"


def _dice(place: int, of: str = "number") -> str:
    return _DICE.format(of=of, place=place)


_FILL = f"""
    INSERT INTO calls (call_id, started_at, project_id, surface, stream, requested_model,
        group_name, task, experiment_id, epoch, stage, generation, unit_id, unit_source,
        assigned_arm, share_bp, served_deployment, outcome, attempts, request, request_hash,
        answer, verdict_label, verdict_confidence, verdict_failure, prompt_tokens,
        completion_tokens, cached_tokens, cost_usd, latency_ms, metadata, ll, audit_ppm,
        is_drawn)
    SELECT substr(id, 1, 8) || '-' || substr(id, 9, 4) || '-7000-8000-'
            || lpad(to_hex(number), 12, '0'),
        to_timestamp(ms / 1000.0), 'default', 'chat', false, 'judge', 'judge', 'judge',
        :experiment, {_EPOCH}, stage, 3, 'customer-' || unit, 'header', arm, 5000,
        'judge-' || left(arm, 1), outcome, '[]', 'body', 'hash', 'answer',
        CASE WHEN failure IS NULL THEN label END, CASE WHEN failure IS NULL THEN confidence END,
        failure, 300 + number % 100, 40, 0, 0.0003 + number % 7 * 1e-5, latency_ms, '{{}}',
        CAST(round(ln(CAST(latency_ms AS numeric)) * 1000000) AS int),
        CASE WHEN is_ok THEN 100000 END, is_ok AND {_dice(1)} < 0.1
    FROM (
        SELECT *, outcome = 'served' AND failure IS NULL AS is_ok,
            lpad(to_hex(ms), 12, '0') AS id
        FROM (
            SELECT *,
                CASE WHEN {_dice(2, "unit")} * 10000 < (CAST(:shares AS int[]))[stage]
                    THEN 'canary' ELSE 'primary' END AS arm,
                CASE WHEN {_dice(3)} < 0.005 THEN 'failed' ELSE 'served' END AS outcome,
                CASE WHEN {_dice(4)} < 0.01 THEN 'invalid_output' END AS failure,
                (ARRAY['relevant', 'irrelevant', 'maybe'])[1 + trunc({_dice(5)} * 3)::int]
                    AS label,
                round({_dice(6)}, 2) AS confidence,
                CAST(exp(6 + ({_dice(7)} + {_dice(8)} + {_dice(9)} - 1.5))
                    AS double precision) AS latency_ms,
                CAST(:began_ms AS bigint) + number % 1000 AS ms
            FROM (
                SELECT number, CAST(1 + number % 4 AS int) AS stage,
                    CASE WHEN {_dice(10)} < 0.3 THEN trunc({_dice(11)} * number)::bigint
                        ELSE number END AS unit
                FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) number
            ) numbered
        ) placed
    ) made
    """  # noqa: S608 - made of strings of ours
_LABEL = f"""
    INSERT INTO feedback (call_id, started_at, project_id, kind, name, source, reviewer,
        label, is_boolean, at, actor, is_current)
    SELECT call_id, started_at, project_id, 'label', 'label', 'audit', 'ann',
        CASE WHEN {_dice(12, "hashtext(call_id)")} < 0.85 THEN verdict_label ELSE 'maybe' END,
        false, now(), 'bench', true
    FROM calls WHERE experiment_id = :experiment AND is_drawn
        AND {_dice(13, "hashtext(call_id)")} < 0.6
    ON CONFLICT DO NOTHING
    """  # noqa: S608


async def fill(
    engine: AsyncEngine, experiment_id: str, calls: range, began_at: datetime
) -> None:
    """Add calls to an experiment's first epoch, with the labels that came back; no totals.

    Args:
        calls: Numbers of the calls, which no call may have yet.
        began_at: When the calls were; all are within a second.
    """
    values = {
        "experiment": experiment_id,
        "shares": list(SHARES_BP),
        "began_ms": int(began_at.timestamp() * 1000),
    }
    for first in range(calls.start, calls.stop, _AT_ONCE):
        last = min(first + _AT_ONCE, calls.stop) - 1
        await run(engine, [_FILL], {**values, "first": first, "last": last})
    await run(engine, [_LABEL], {"experiment": experiment_id})


async def count(engine: AsyncEngine, experiment_id: str) -> None:
    """Make the totals what the calls add up to, and let the server settle."""
    async with transaction(engine) as tx:
        await totals.lock(tx, [experiment_id])
        await recount.repair(tx, experiment_id, _EPOCH)
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with autocommit.connect() as connection:
        for statement in ("SET statement_timeout = 0", "VACUUM ANALYZE", "CHECKPOINT"):
            await connection.execute(text(statement))


async def run(
    engine: AsyncEngine, statements: Sequence[str], values: dict[str, object]
) -> None:
    """Run statements that may take their time in one transaction."""
    async with transaction(engine) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in statements:
            await tx.execute(text(statement.replace("::", "\\:\\:")), values)
