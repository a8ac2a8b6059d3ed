"""What did a judge say? A label, a confidence and a reasoning, or why there is none.

Nothing is ever turned into a default label: an answer that cannot be read is a failure
with a name, and the raw answer is kept beside it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeGuard

DEFAULT_LABELS = ("relevant", "irrelevant", "maybe")
MAX_REASONING_CHARS = 4_000  # a reasoning beyond this is an essay; the raw answer has it


class VerdictFailure(StrEnum):
    """Why a judge's call has no verdict."""

    INVALID_OUTPUT = "invalid_output"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"


class Verdict(NamedTuple):
    """A judge's answer, read.

    Args:
        confidence: In [0, 1]; None when the judge gave none.
    """

    label: str
    confidence: float | None
    reasoning: str | None


_NUMBERS = (int, float)

# A fence may stand alone or within prose; the JSON in the first one is meant.
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)


def parse_verdict(answer: str, labels: Sequence[str]) -> Verdict | VerdictFailure:
    """Read a judge's answer.

    Args:
        answer: The text as the provider gave it: a JSON object, bare or in a code fence.
        labels: What the judge may answer. Compared without regard to case and
            surrounding white space, returned as spelled here.

    Returns:
        The verdict; `INVALID_OUTPUT` when there is no JSON object, the label is missing
        or outside `labels`, or a confidence is given that is no number in [0, 1].

    Example:
        >>> parse_verdict('{"label": "Maybe", "confidence": 0.4}', ["maybe"])
        Verdict(label='maybe', confidence=0.4, reasoning=None)
    """
    document = _json_object(answer)
    return VerdictFailure.INVALID_OUTPUT if document is None else verdict_in(document, labels)


def verdict_in(
    document: Mapping[str, object], labels: Sequence[str]
) -> Verdict | VerdictFailure:
    """Read the verdict in a judge's JSON object, by the rules of `parse_verdict`.

    Apart from it for those who read JSON faster than the standard library does.
    """
    label = _label(document.get("label"), labels)
    confidence = document.get("confidence")
    if label is None or not (confidence is None or _is_probability(confidence)):
        return VerdictFailure.INVALID_OUTPUT
    reasoning = document.get("reasoning")
    return Verdict(
        label=label,
        confidence=None if confidence is None else float(confidence),
        reasoning=reasoning[:MAX_REASONING_CHARS] if isinstance(reasoning, str) else None,
    )


def failure_of(*, status: int | None, error_class: str | None) -> VerdictFailure:
    """Name the failure of a judge's call that got no answer.

    Args:
        status: HTTP status the client saw, None when the stream broke after it began.
        error_class: Class name of the provider's error.
    """
    timed_out = status in (408, 504) or "timeout" in (error_class or "").lower()
    return VerdictFailure.TIMEOUT if timed_out else VerdictFailure.PROVIDER_ERROR


def _json_object(answer: str) -> dict[str, object] | None:
    """Return the JSON object in an answer, or None."""
    # Bare first: a reasoning may itself quote a code fence.
    document = _decoded(answer)
    if document is None and (fenced := _FENCE.search(answer)) is not None:
        document = _decoded(fenced.group(1))
    return document if isinstance(document, dict) else None


def _decoded(text: str) -> object:
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> float:
    """Refuse NaN and the infinities, which Python reads but JSON does not know."""
    msg = f"{name} is not JSON"
    raise ValueError(msg)


# Made once: `json.loads` with an option makes a decoder for every call, which takes longer
# than reading a short answer.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _label(found: object, labels: Sequence[str]) -> str | None:
    if not isinstance(found, str):
        return None
    if found in labels:
        return found
    known = {label.strip().casefold(): label for label in labels}
    return known.get(found.strip().casefold())


def _is_probability(value: object) -> TypeGuard[float]:
    # bool is an int in Python, but `"confidence": true` is no confidence.
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and 0 <= value <= 1
