"""What is recorded of one client request? The record that the proxy journals.

One record is one call, whatever was retried inside it. The proxy writes it as JSON, the
drain reads it back; both go through this file, so the form is stated once. Standard
library only: the proxy loads this.
"""

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from sidecar.core.errors import Invalid

FORM = 1  # of a journal line; a reader refuses a form it does not know
LATER = frozenset({"response_id"})  # fields that a proxy a version behind does not write
# Characters. LiteLLM seals the ids of Responses for its clients, which makes them some 350
# to 500 long; PostgreSQL indexes up to 2,700 bytes.
MAX_RESPONSE_ID = 1_000


class Outcome(StrEnum):
    """How a call ended, seen from its assigned arm."""

    SERVED = "served"  # the assigned arm answered
    FAILED_OVER = "failed_over"  # it was tried and failed, and another arm answered
    DIVERTED = "diverted"  # it was cooling down, and another arm answered
    FAILED = "failed"  # the client got an error
    INCOMPLETE = "incomplete"  # a stream that broke, or that the client left


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed try at one deployment; its message is left out, for it may quote a prompt."""

    deployment: str
    error_class: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, in the same form whatever the surface.

    Args:
        text: None when there was none, for example only tool calls.
        tool_calls: As the surface gave them.
        refusal: The provider's own refusal text, apart from the answer.
        others: Texts of further choices, when the client asked for several.
    """

    text: str | None = None
    tool_calls: Sequence[object] = ()
    refusal: str | None = None
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One client request and its outcome.

    Args:
        call_id: UUID version 7, ours; its milliseconds are `started_at`.
        key_id: Of the API key; None when LiteLLM's own authentication let it in.
        surface: `chat`, `responses`, `messages`, `embeddings` or LiteLLM's call type.
        requested_model: What the client asked for; `group` is what that meant.
        share_bp: Designed share of the assigned arm, in basis points.
        bucket: None when nothing was drawn.
        served_deployment: Who answered; None for a failed call.
        served_arm: Its arm, None when it belongs to none of the group's.
        provider_model: The provider's own name for what answered.
        request: The body as the client sent it.
        latency_ms: From arrival to the last byte. `ttft_ms`: to the first chunk; None
            when the call was not streamed.
        cost_usd: None when the price is unknown, which is not free.
        status: HTTP status the client saw; None when a stream broke after its 200.
        error_class: Of the final error. `metadata`: the client's own.
        response_id: The answer's own id, as the client got it; None when it had none.
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
    labels: tuple[str, ...]
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
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    request: Mapping[str, object]
    answer: Answer
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    ttft_ms: float | None
    status: int | None
    error_class: str | None
    metadata: Mapping[str, object]
    response_id: str | None = None

    def to_line(self) -> dict[str, object]:
        """Give the record as a journal line's JSON object."""
        # Not `asdict`: it would copy a body of megabytes, key by key.
        line = {name: getattr(self, name) for name in self.__slots__}
        line["started_at"] = self.started_at.isoformat()
        line["attempts"] = [asdict(attempt) for attempt in self.attempts]
        line["answer"] = {name: getattr(self.answer, name) for name in Answer.__slots__}
        return {"form": FORM, "kind": "call", **line}


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What LiteLLM knew only after the answer had left; None leaves a value as it is."""

    call_id: str
    cost_usd: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None

    def to_line(self) -> dict[str, object]:
        """Give the enrichment as a journal line's JSON object."""
        return {"form": FORM, "kind": "enrichment", **asdict(self)}


def read_line(line: Mapping[str, object]) -> CallRecord | Enrichment:
    """Read a journal line back.

    Raises:
        Invalid: The form or kind is unknown, or a field is missing or of a wrong type.
    """
    kind = _KINDS.get(str(line.get("kind")))
    if line.get("form") != FORM or kind is None:
        # What the line says instead is left out: it could be anything, a prompt too.
        msg = f"the line is of no known form or kind (form {FORM}: {', '.join(_KINDS)})"
        raise Invalid(msg)
    try:
        names = [field.name for field in fields(kind)]
        values = {name: line[name] for name in names if name not in LATER or name in line}
        uuid.UUID(str(values["call_id"]))
        return kind(**_typed(values) if kind is CallRecord else values)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"a {line['kind']} line cannot be read: {type(error).__name__}"
        raise Invalid(msg) from error


def new_call_id(
    now: datetime, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> str:
    """Make a call id: UUID version 7, so ids sort by time and carry it (RFC 9562, 5.7)."""
    milliseconds = int(now.timestamp() * 1000)
    tail = int.from_bytes(random_bytes(10))
    rand_a, rand_b = tail >> 68, tail & ((1 << 62) - 1)
    value = milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    return str(uuid.UUID(int=value))


def started_at_of(call_id: str) -> datetime:
    """Read the moment a call began out of its id, to the millisecond.

    Raises:
        Invalid: This is no call id.
    """
    try:
        parsed = uuid.UUID(call_id)
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        msg = f"{call_id[:40]!r} is no call id; expected a UUID such as the header carries"
        raise Invalid(msg) from error


def kept_id(response_id: object) -> str | None:
    """Give an answer's id as it is kept: whole, or not at all.

    One that was cut or mended would not be the one its client asks by.
    """
    if not isinstance(response_id, str) or not 0 < len(response_id) <= MAX_RESPONSE_ID:
        return None
    return response_id if response_id.isascii() and response_id.isprintable() else None


def _typed(values: dict[str, object]) -> dict[str, object]:
    """Turn JSON's values into the record's types."""
    started_at = datetime.fromisoformat(str(values["started_at"]))
    attempts, answer, labels = values["attempts"], values["answer"], values["labels"]
    if not isinstance(attempts, list) or not isinstance(answer, dict):
        msg = "attempts must be a list, answer an object"
        raise TypeError(msg)
    if not isinstance(values["request"], dict) or not isinstance(labels, list):
        msg = "request must be an object, labels a list"
        raise TypeError(msg)
    return values | {
        "started_at": started_at,
        "outcome": Outcome(str(values["outcome"])),
        "attempts": tuple(Attempt(**attempt) for attempt in attempts),
        "answer": Answer(**answer),
        "labels": tuple(labels),
    }


_KINDS: dict[str, type[CallRecord] | type[Enrichment]] = {
    "call": CallRecord,
    "enrichment": Enrichment,
}
