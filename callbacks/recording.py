"""How does an ended call become a record?"""

from typing import Any

from callbacks.flights import Flight
from callbacks.payload.reply import Reply
from sidecar.core.calls import Attempt, CallRecord, Outcome
from sidecar.core.routing import Group


def decided_of(flight: Flight) -> dict[str, Any]:
    """Give the fields of a call's record that stand from its beginning, but the moment."""
    group, asked, unit, assignment = flight.group, flight.asked, flight.unit, flight.assignment
    return {
        "call_id": flight.call_id,
        "project_id": flight.project_id,
        "key_id": flight.key_id,
        "surface": asked.surface,
        "stream": asked.stream,
        "requested_model": asked.model,
        "group": group.name,
        "task": group.task,
        "labels": group.labels,
        "experiment_id": None if group.paused else group.experiment_id,
        "epoch": group.epoch,
        "stage": group.stage,
        "generation": flight.generation,
        "unit_id": unit.id,
        "unit_source": unit.source,
        "bucket": assignment.bucket,
        "assigned_arm": assignment.arm,
        "share_bp": assignment.share_bp,
    }


def record_of(
    flight: Flight,
    reply: Reply,
    *,
    attempts: tuple[Attempt, ...],
    ended: float,
    broken: BaseException | None = None,
    status: int | None = 200,
) -> CallRecord:
    """Put together what is recorded of a call.

    Args:
        ended: Monotonic seconds, on the clock of `flight.began`.
        broken: What ended the call; None when it was answered whole.
        status: HTTP status the client saw; None for a stream that broke.
    """
    # An error as the whole answer: nobody served.
    served = None if broken is not None and status is not None else reply.deployment
    return CallRecord(
        **decided_of(flight),
        started_at=flight.started_at,
        served_deployment=served,
        served_arm=arm_serving(flight.group, served),
        provider_model=reply.provider_model,
        outcome=outcome_of(flight, served, attempts, broken=broken, status=status),
        attempts=attempts,
        request=flight.asked.body,
        answer=reply.answer,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.usage.prompt,
        completion_tokens=reply.usage.completion,
        cached_tokens=reply.usage.cached,
        cost_usd=reply.cost_usd,
        latency_ms=(ended - flight.began) * 1000,
        ttft_ms=None
        if flight.first_chunk is None
        else (flight.first_chunk - flight.began) * 1000,
        status=status,
        error_class=None if broken is None else type(broken).__name__,
        metadata=flight.asked.metadata,
        response_id=reply.response_id,
    )


def outcome_of(
    flight: Flight,
    served: str | None,
    attempts: tuple[Attempt, ...],
    *,
    broken: BaseException | None,
    status: int | None,
) -> Outcome:
    """Say how a call ended, seen from its assigned arm."""
    if broken is not None:
        return Outcome.INCOMPLETE if status is None else Outcome.FAILED
    arm = flight.group.arm(flight.assignment.arm)
    if not flight.group.is_split:
        ours = not arm or not arm.deployments or served in arm.deployments
        return Outcome.SERVED if ours or served is None else Outcome.FAILED_OVER
    mine = arm.deployments if arm else ()
    if served is None or served in mine:
        return Outcome.SERVED
    tried = any(attempt.deployment in mine for attempt in attempts)
    return Outcome.FAILED_OVER if tried else Outcome.DIVERTED


def arm_serving(group: Group, served: str | None) -> str | None:
    """Name the arm of who answered; None when it is none of the group's."""
    if served is None:
        return None
    if not group.is_split:
        only = group.arms[0]
        return only.name if not only.deployments or served in only.deployments else None
    return next((arm.name for arm in group.arms if served in arm.deployments), None)
