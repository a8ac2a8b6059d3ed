"""What is told of a stored call? Its row, and on demand its exact request and answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A stored call without its texts; the fields of `CallRecord` mean the same here.

    Args:
        started_at: To the millisecond, as the call id has it.
        attempts: Failed tries: deployment, error class and status.
        request_hash: Hexadecimal; equal for equal requests.
        verdict_failure: Why a judge's call has no label; None for every other call.
        audit_ppm: Chance of being drawn for the audit, in millionths; None when the call
            could not be, for it has no readable answer or no plan.
        response_id: The answer's own id, as the client got it; None when it had none, or one
            that cannot be kept whole.
        metadata: The client's own, with U+FFFD for what PostgreSQL cannot hold.
    """

    call_id: str
    started_at: datetime
    project_id: str
    key_id: str | None
    surface: str
    stream: bool
    requested_model: str
    group: str
    task: str
    experiment_id: str | None
    epoch: int
    stage: int
    generation: int
    unit_id: str
    unit_source: str
    bucket: int | None
    assigned_arm: str
    share_bp: int
    served_deployment: str | None
    served_arm: str | None
    provider_model: str | None
    outcome: str
    attempts: Sequence[Mapping[str, object]]
    request_hash: str
    verdict_label: str | None
    verdict_confidence: float | None
    verdict_reasoning: str | None
    verdict_failure: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    ttft_ms: float | None
    status: int | None
    error_class: str | None
    audit_ppm: int | None
    is_drawn: bool
    response_id: str | None
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWithTexts(RecordedCall):
    """A stored call with what was asked and what was answered.

    Args:
        request: The body as the client sent it. A string in it may hold a NUL or a lone
            surrogate, a number may be beyond 64 bits: write it with `json.dumps`.
        answer: With `text`, `tool_calls` and `refusal`.
    """

    request: Mapping[str, object]
    answer: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to list; None does not restrict."""

    project_id: str | None = None
    experiment_id: str | None = None
    group: str | None = None
    arm: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some calls, newest first.

    Args:
        next: Cursor of the page that follows; None when this is the last.
    """

    items: Sequence[RecordedCall]
    next: str | None
