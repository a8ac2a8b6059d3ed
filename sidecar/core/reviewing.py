"""Does a call wait for a person to look at it, for whom, and what may that person see?

Calls drawn for the audit come first: their labels speak for others. Then drafts that nobody
has approved, edited or rejected. A share of the judges' drawn calls is labelled twice, by
two people who do not know of each other: only so can be said how far people agree.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sidecar.core.calls import Outcome
from sidecar.core.errors import Invalid
from sidecar.core.routing import Task

LOCKED_FOR = timedelta(minutes=10)  # long enough for an edit, short for who waits for it
SKIPPED_FOR = timedelta(days=1)
WINDOW = timedelta(days=14)  # an older draft has been sent, or forgotten
DOUBLE = 0.1
HASHES = 2**32

ANSWERED = frozenset({Outcome.SERVED, Outcome.FAILED_OVER, Outcome.DIVERTED})

# What of a body may tell which arm answered, or whose it is. The rest is what was asked.
_TELLING = frozenset(
    {
        "model", "models", "metadata", "litellm_metadata", "user", "tags", "fallbacks",
        "extra_headers", "extra_body", "litellm_session_id", "litellm_trace_id",
        "safety_identifier", "prompt_cache_key", "cache", "mock_response", "service_tier",
        "previous_response_id", "store", "api_key", "api_base", "base_url",
    }
)  # fmt: skip


class Kind(StrEnum):
    """Why a call waits."""

    AUDIT = "audit"  # it was drawn
    DRAFT = "draft"  # it was written for somebody to approve


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What of a call decides whether it waits.

    Args:
        is_written: The answer has a text.
        is_recent: It began within `WINDOW`.
        audited_by: Whose label or decision of source `audit` is current.
        is_decided: Somebody's approval, edit or rejection is current, whatever its source.
    """

    call_id: str
    task: str
    outcome: str
    is_drawn: bool
    is_written: bool
    is_recent: bool
    audited_by: Collection[str]
    is_decided: bool


def is_double(call_id: str, share: float) -> bool:
    """Whether a call is to be labelled by two people; the same answer for ever.

    Args:
        share: Of all calls, in [0, 1]. A greater one keeps what a smaller one holds.

    Example:
        >>> is_double("019a8f0e-0000-7000-8000-000000000001", 0.1)
        True
    """
    digest = hashlib.sha256(b"double:" + call_id.encode()).digest()
    return int.from_bytes(digest[:4]) < below(share)


def below(share: float) -> int:
    """Give the number that a call's hash, of 32 bits, must be below to be in a share.

    Raises:
        Invalid: The share is outside [0, 1].
    """
    if not 0 <= share <= 1:
        msg = f"the share to be labelled twice must be from 0 to 1, found {share}"
        raise Invalid(msg)
    return round(share * HASHES)


def kind_of(state: State, reviewer: str, double: float) -> Kind | None:
    """Say why a call waits for a reviewer; None when it does not.

    Args:
        double: The share of judges' drawn calls that two people label.
    """
    if state.is_drawn:
        is_twice = state.task == Task.JUDGE and is_double(state.call_id, double)
        is_open = len(state.audited_by) < (2 if is_twice else 1)
        return Kind.AUDIT if is_open and reviewer not in state.audited_by else None
    is_draft = state.task == Task.DRAFT and state.is_written and state.outcome in ANSWERED
    return Kind.DRAFT if is_draft and state.is_recent and not state.is_decided else None


def blind(request: Mapping[str, object]) -> dict[str, object]:
    """Leave out of a request what may tell a reviewer which arm answered it, and whose it is.

    Example:
        >>> blind({"model": "ft:a", "temperature": 0})
        {'temperature': 0}
    """
    return {name: value for name, value in request.items() if name not in _TELLING}
