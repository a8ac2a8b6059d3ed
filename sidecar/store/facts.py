"""What of a stored call counts? Its row, and what was said of it that is tested."""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.facts import Facts
from sidecar.store.feedback import SAID, SAID_VALUES

_SOUGHT = """unnest(CAST(:call_ids AS text[]), CAST(:moments AS timestamptz[]))
    AS sought (call_id, started_at)"""
_LOCK = text(
    f"SELECT FROM calls JOIN {_SOUGHT} USING (call_id, started_at) "
    "ORDER BY call_id FOR NO KEY UPDATE OF calls"
)
_ONLY = "AND call_id = ANY(CAST(:call_ids AS text[]))"
_FACTS = text(
    f"""
    WITH said AS ({SAID.format(only=_ONLY)}),
    said_values AS ({SAID_VALUES.format(only=_ONLY)})
    SELECT call_id, experiment_id, epoch, stage, assigned_arm, unit_id, unit_source, outcome,
        verdict_failure, verdict_label, verdict_confidence, served_deployment,
        prompt_tokens, completion_tokens, cached_tokens, cost_usd, latency_ms, ll, ttft_ll,
        audit_ppm, is_drawn, said.human,
        ARRAY(SELECT name FROM said_values v WHERE v.call_id = calls.call_id ORDER BY name),
        ARRAY(SELECT value FROM said_values v WHERE v.call_id = calls.call_id ORDER BY name),
        coalesce(said.is_corrected, false)
    FROM calls JOIN {_SOUGHT} USING (call_id, started_at) LEFT JOIN said USING (call_id)
    WHERE experiment_id IS NOT NULL
    """  # noqa: S608 - made of strings of ours
)


async def lock(tx: AsyncConnection, call_ids: Collection[str]) -> None:
    """Let nobody else change some calls, or what is said of them, until the transaction ends.

    Raises:
        Invalid: One is no call id.
    """
    await tx.execute(_LOCK, _keys(call_ids))


async def of_calls(tx: AsyncConnection, call_ids: Collection[str]) -> dict[str, Facts]:
    """Fetch the facts of those calls that are stored and in an experiment, by call id."""
    found = await tx.execute(_FACTS, _keys(call_ids))
    return {
        row[0]: Facts._make((*row[1:22], tuple(zip(row[22], row[23], strict=True)), row[24]))
        for row in found
    }


def _keys(call_ids: Collection[str]) -> dict[str, object]:
    ids = sorted(call_ids)
    return {"call_ids": ids, "moments": [started_at_of(call_id) for call_id in ids]}
