"""Which calls are drawn for blind human labels, and with which probability?

The probability is known and stored with the call, so that a few labels speak for all: a
drawn call stands for the inverse of its probability. Whether it is drawn follows from its id
alone, so draining a call again draws it again, and nobody can choose what is looked at.
"""

import hashlib
import math
from dataclasses import dataclass

from sidecar.core.errors import Invalid
from sidecar.core.plan import Audit, Weighting

MILLION = 10**6

# A weight is the inverse of a probability: below this one call would outvote hundreds.
LEAST_FLOOR = 0.01
# The mean of sqrt(c(1-c)) for judges that are right eight times of ten. Frozen, or the
# probabilities would depend on the calls that came before; were it off, only the number of
# drawn calls would be, never an estimate.
TYPICAL_SPREAD = 0.4
_COIN = 0.5  # a judge that gives no confidence is as unsure as can be


@dataclass(frozen=True, slots=True)
class Design:
    """How the calls of one epoch of an experiment are drawn.

    Args:
        salt: Different salts draw independently.
    """

    audit: Audit
    salt: str


def draw(call_id: str, salt: str) -> int:
    """Give a call its number in [0, 1e6), uniformly; it is the same number for ever.

    Example:
        >>> draw("019a8f0e-0000-7000-8000-000000000001", "exp-1")
        775752
    """
    # Apart from the assignment's hash of the same salt, with which a draw must not go.
    prefix = hashlib.sha256(b"audit\0" + salt.encode()).digest()
    digest = hashlib.sha256(prefix + call_id.encode()).digest()
    return int.from_bytes(digest[:7]) % MILLION


def probability_ppm(audit: Audit, confidence: float | None) -> int:
    """Return the chance of a call to be drawn, in millionths, at least 1.

    Under `uncertain`, half of the rate is the same for all calls; the other half goes with
    sqrt(c (1 - c)), the spread of a judge's answer, which draws where labels tell most.

    Args:
        confidence: The judge's own, in [0, 1]; None for a call without one.

    Raises:
        Invalid: The rate is outside (0, 1].

    Source:
        Zrnic and Candès 2024, Active statistical inference, arXiv 2403.03208; the half
        that is uniform keeps the weights bounded where the confidence misleads.

    Example:
        >>> probability_ppm(Audit(rate=0.05), confidence=0.9)
        50000
        >>> probability_ppm(Audit(rate=0.05, weighting=Weighting.UNCERTAIN), confidence=0.5)
        56250
    """
    if not 0 < audit.rate <= 1:
        msg = f"an audit's rate must be above 0 and at most 1, found {audit.rate}"
        raise Invalid(msg)
    if audit.weighting is Weighting.UNIFORM:
        return max(1, round(audit.rate * MILLION))
    c = _COIN if confidence is None else confidence
    share = 0.5 + 0.5 * math.sqrt(c * (1 - c)) / TYPICAL_SPREAD
    floor = max(audit.floor, min(LEAST_FLOOR, audit.rate))
    return round(min(1.0, max(floor, audit.rate * share)) * MILLION)


def drawn(design: Design, call_id: str, confidence: float | None) -> tuple[int, bool]:
    """Say with which probability a call was drawn, in millionths, and whether it was.

    Args:
        call_id: Of a call whose answer could be read; no other is in the design.
    """
    ppm = probability_ppm(design.audit, confidence)
    return ppm, draw(call_id, design.salt) < ppm
