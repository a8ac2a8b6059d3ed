"""What does the journal line of one call say, and which row does it become?

A line goes straight into a `CallLine`, its values checked on the way. Making a `CallRecord`
would take as long as all the rest. A line that does not fit is read by the general reader,
which finds out whether it is odd (a number that is none, half of a surrogate pair, a field of
a newer proxy) or bad; both readers give the same row wherever both give one.
"""

from dataclasses import fields
from datetime import datetime
from typing import Any, Literal

import msgspec
import orjson

from sidecar.core.calls import FORM, LATER, Answer, Attempt, Outcome, kept_id
from sidecar.core.contents import Stored
from sidecar.core.errors import Invalid
from sidecar.core.facts import ll_of
from sidecar.core.routing import Task
from sidecar.core.verdicts import (
    Verdict,
    VerdictFailure,
    failure_of,
    parse_verdict,
    verdict_in,
)
from sidecar.service.documents import NOT_READ, Encode, decode, encode
from sidecar.store.calls import COLUMNS, Row

Document = dict[str, Any]


class CallLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A call as its line has it; the fields mean what `CallRecord`'s do.

    Those that are columns come first, in the table's order. By the general reader they may be
    of other types than said here: the columns refuse what they cannot hold.
    """

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
    # Here stand what is made of attempts, request and answer, and the verdict.
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    ttft_ms: float | None
    status: int | None
    error_class: str | None
    # No columns, or not as they are.
    form: Literal[1]
    kind: Literal["call"]
    call_id: str
    labels: list[str]
    attempts: list[Document]
    request: Document
    answer: Document
    metadata: Document
    # What a line need not have.
    started_at: object = None  # the call id says it
    response_id: str | None = None  # a proxy that is a version behind does not know it


Judged = tuple[str | None, float | None, str | None, VerdictFailure | None]
"""Label, confidence, reasoning, and why there are none, in the order of the columns."""

_UNJUDGED: Judged = (None, None, None, None)
_NAMES = CallLine.__struct_fields__
_OPTIONAL = ("started_at", *LATER)
_NEEDED = [name for name in _NAMES if name not in _OPTIONAL]
_MIDDLE = _NAMES.index("finish_reason")
_END = _NAMES.index("form")
_MADE = (
    "attempts", "request", "request_hash", "answer",
    "verdict_label", "verdict_confidence", "verdict_reasoning", "verdict_failure",
)  # fmt: skip
_expected = (
    "call_id",
    "started_at",
    *_NAMES[:_MIDDLE],
    *_MADE,
    *_NAMES[_MIDDLE:_END],
    "metadata",
    "ll",
    "ttft_ll",
    "audit_ppm",
    "is_drawn",
    "response_id",
)
if tuple("group_name" if name == "group" else name for name in _expected) != COLUMNS:
    msg = f"the columns of calls are {COLUMNS}; a line gives {_expected}"
    raise RuntimeError(msg)

_REFUSALS = frozenset({"content_filter", "refusal"})  # as OpenAI and as Anthropic say it
_OUTCOMES = frozenset(Outcome)
_BROKEN = frozenset({Outcome.FAILED, Outcome.INCOMPLETE})
# Fewer are fine: a proxy that is a version behind does not know the newest.
_ANSWER = {field.name for field in fields(Answer)}
_JUDGE = Task.JUDGE.value

_decode_call = msgspec.json.Decoder(CallLine).decode
_astuple = msgspec.structs.astuple


def read_call(line: bytes) -> tuple[CallLine | Document, Encode]:
    """Read a line.

    Returns:
        The call, or the JSON object of a line that is of another kind or form; and the
        encoder that writes its parts without a loss.

    Raises:
        Invalid: It is no JSON object, or a part of it has not the form that `CallRecord`
            gives it.
        KeyError: A field is missing.
    """
    try:
        call = _decode_call(line)
    except NOT_READ:
        return _read_generally(line)
    _check(call)
    return call, encode


def _read_generally(line: bytes) -> tuple[CallLine | Document, Encode]:
    document, exact = decode(line)
    if not isinstance(document, dict):
        msg = f"the line is a JSON {type(document).__name__}, expected an object"
        raise Invalid(msg)
    if document.get("kind") != "call" or document.get("form") != FORM:
        return document, exact
    more = {name: document[name] for name in _OPTIONAL if name in document}
    call = CallLine(**{name: document[name] for name in _NEEDED}, **more)
    _check(call)
    return call, exact


def judge(call: CallLine) -> Judged:
    """Read the verdict in a judge's answer; other calls have none, and no failure either."""
    if call.task != _JUDGE:
        return _UNJUDGED
    found = _read_verdict(call)
    if isinstance(found, Verdict):
        return found.label, found.confidence, found.reasoning, None
    return None, None, None, found


def row_of(
    call: CallLine, started_at: datetime, stored: Stored, judged: Judged, exact: Encode
) -> Row:
    """Give a call as a row of `calls`, in the order of its columns.

    Args:
        stored: The call's request.
        exact: As `read_call` gave it.
    """
    values = _astuple(call)
    return (
        call.call_id,
        started_at,
        *values[:_MIDDLE],
        exact(call.attempts).decode() if call.attempts else "[]",
        stored.skeleton,
        stored.digest,
        exact(call.answer),
        *judged,
        *values[_MIDDLE:_END],
        exact(call.metadata).decode(),
        _ll(call.latency_ms),
        _ll(call.ttft_ms),
        None,  # `service.counting` draws the call, for that takes its epoch's plan
        False,
        kept_id(call.response_id),
    )


def _ll(duration_ms: object) -> int | None:
    """Give a duration's logarithm; none of what is no duration, which no column takes."""
    return ll_of(duration_ms) if isinstance(duration_ms, float | int) else None


def _check(call: CallLine) -> None:
    """Check what no column does.

    Raises:
        Invalid: A value is not one that `CallRecord` allows.
    """
    request: object = call.request  # not surely what the general reader has found
    metadata: object = call.metadata
    attempts: object = call.attempts
    if not isinstance(request, dict) or not call.answer.keys() <= _ANSWER:
        msg = "the line's request or answer is none"
        raise Invalid(msg)
    if not isinstance(attempts, list):
        msg = "the line's attempts are no list"
        raise Invalid(msg)
    if call.outcome not in _OUTCOMES or not isinstance(metadata, dict):
        msg = "the line's outcome is unknown, or its metadata no object"
        raise Invalid(msg)
    for attempt in call.attempts:
        Attempt(**attempt)


def _read_verdict(call: CallLine) -> Verdict | VerdictFailure:
    if call.outcome in _BROKEN:
        return failure_of(status=call.status, error_class=call.error_class)
    answer = call.answer
    if answer.get("refusal") or call.finish_reason in _REFUSALS:
        return VerdictFailure.REFUSED
    said = answer.get("text")
    if said is None:
        return VerdictFailure.INVALID_OUTPUT
    try:
        # What orjson changes, integers beyond 64 bits, is no verdict before or after.
        document = orjson.loads(said)
    except ValueError:  # no JSON, JSON in a fence, or what orjson alone refuses
        return parse_verdict(said, call.labels)
    if isinstance(document, dict):
        return verdict_in(document, call.labels)
    return parse_verdict(said, call.labels)
