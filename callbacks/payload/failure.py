"""What went wrong? Classes and statuses of errors; never their messages."""

from collections.abc import Mapping
from typing import Any

from sidecar.core.calls import Attempt

# LiteLLM's record of a retry names the class only; these are the statuses of its classes.
_STATUS = {
    "AuthenticationError": 401,
    "BadRequestError": 400,
    "ContextWindowExceededError": 400,
    "ContentPolicyViolationError": 400,
    "NotFoundError": 404,
    "PermissionDeniedError": 403,
    "RateLimitError": 429,
    "Timeout": 408,
    "APIConnectionError": None,
    "InternalServerError": 500,
    "BadGatewayError": 502,
    "ServiceUnavailableError": 503,
}


def read_attempts(
    data: Mapping[str, Any], error: BaseException | None = None
) -> tuple[Attempt, ...]:
    """List the failed tries of a call, oldest first.

    Args:
        error: What ended the call, if it failed; its try is not always in the records.
    """
    # Keyed by its number too: after a fallback hop LiteLLM lists the last try twice.
    records = {
        (str(r["deployment_id"]), r.get("attempted_retries"), str(r.get("exception_type"))): r
        for r in _records(data)
        if r.get("deployment_id")
    }
    attempts = [Attempt(name, kind, _STATUS.get(kind)) for name, _, kind in records]
    last = getattr(error, "failed_deployment_id", None)
    # After a lone failure LiteLLM lists no try at all.
    if error is not None and last and (not attempts or attempts[-1].deployment != last):
        attempts.append(Attempt(str(last), type(error).__name__, status_of(error)))
    return tuple(attempts)


def status_of(error: BaseException) -> int:
    """Give the HTTP status a client sees for an error; 500 when it names none."""
    for name in ("status_code", "code"):
        found = getattr(error, name, None)
        if isinstance(found, int | str) and str(found).isdigit():
            return int(found)
    return 500


def _records(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for key in ("litellm_metadata", "metadata"):
        bucket = data.get(key)
        found = bucket.get("previous_models") if isinstance(bucket, Mapping) else None
        if found:
            return [record for record in found if isinstance(record, Mapping)]
    return []
