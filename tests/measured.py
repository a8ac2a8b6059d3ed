"""Calls in their table with exact totals, without a journal or a drain."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.facts import Facts, ll_of
from sidecar.service import totals

_SALT = itertools.count(1)
_JSON = "CAST('{}' AS jsonb)"
_INSERT = text(
    f"""
    INSERT INTO calls (call_id, started_at, project_id, surface, stream, requested_model,
        group_name, task, experiment_id, epoch, stage, generation, unit_id, unit_source,
        assigned_arm, share_bp, served_deployment, outcome, attempts, request, request_hash,
        answer, verdict_label, verdict_confidence, verdict_failure, prompt_tokens,
        completion_tokens, cached_tokens, cost_usd, latency_ms, ttft_ms, metadata, ll, ttft_ll,
        audit_ppm, is_drawn)
    VALUES (:call_id, :started_at, 'default', 'chat', false, 'judge', 'judge', :task,
        :experiment_id, :epoch, :stage, 3, :unit_id, :unit_source, :arm, 5000, :served_by,
        :outcome, '[]', :request, 'hash', :answer, :label, :confidence, :failure,
        :prompt_tokens, :completion_tokens, :cached_tokens, :cost_usd, :latency_ms, :ttft_ms,
        {_JSON}, :ll, :ttft_ll, :audit_ppm, :is_drawn)
    """  # noqa: S608
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call to store; an answered judge's, unless told otherwise."""

    call_id: str = field(default_factory=lambda: new_id(datetime.now(UTC)))
    experiment_id: str | None = "exp-1"
    epoch: int = 1
    stage: int = 1
    arm: str = "primary"
    unit_id: str = "u-1"
    unit_source: str = "header"
    task: str = "judge"
    outcome: str = "served"
    failure: str | None = None
    label: str | None = "relevant"
    confidence: float | None = 0.9
    served_by: str | None = "judge-a"
    prompt_tokens: int | None = 320
    completion_tokens: int | None = 40
    cached_tokens: int | None = None
    cost_usd: float | None = 0.00031
    latency_ms: float = 412.5
    ttft_ms: float | None = None
    audit_ppm: int | None = 100_000
    is_drawn: bool = True

    @property
    def facts(self) -> Facts:
        """What counts of it when it is stored."""
        names = [name for name in Facts._fields[:20] if name not in ("ll", "ttft_ll")]
        values = {name: getattr(self, name) for name in names}
        ttft_ll = None if self.ttft_ms is None else ll_of(self.ttft_ms)
        return Facts(**values, ll=ll_of(self.latency_ms), ttft_ll=ttft_ll)


def new_id(now: datetime) -> str:
    """Make a call id that no other has."""
    milliseconds = int(now.timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | next(_SALT)
    return str(uuid.UUID(int=value))


async def insert(tx: AsyncConnection, calls: Sequence[Made]) -> None:
    """Store calls, but do not count them."""
    for call in calls:
        milliseconds = (uuid.UUID(call.call_id).int >> 80) / 1000
        values: dict[str, Any] = {name: getattr(call, name) for name in Made.__slots__}
        values |= {"ll": call.facts.ll, "ttft_ll": call.facts.ttft_ll}
        values |= {"started_at": datetime.fromtimestamp(milliseconds, tz=UTC)}
        values |= {"request": b'{"model":"judge","messages":[]}', "answer": b'{"text":"yes"}'}
        await tx.execute(_INSERT, values)


async def store(tx: AsyncConnection, calls: Sequence[Made]) -> None:
    """Store calls and count them, as a drain does with a batch."""
    await insert(tx, calls)
    await totals.apply(tx, [], [call.facts for call in calls if call.experiment_id])
