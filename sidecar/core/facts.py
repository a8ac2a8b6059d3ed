"""What of a call matters to statistics? Its facts, and their whole numbers.

Everything that is summed is a whole number, so that a sum never depends on its order:
logarithms, weights and feedback's values in millionths, confidences in ten-thousandths,
costs in nano-USD. SQL comes to the same numbers (`store.recount`).
"""

import math
from typing import NamedTuple

from sidecar.core.calls import Outcome
from sidecar.core.routing import UnitSource

MICRO = 10**6  # of `ll`, a weight, a value
CONFIDENCE = 10**4  # parts of a confidence of 1
NANO = 10**9  # of a USD
UNKNOWN_CONFIDENCE = 5_000  # of a judge that gave none
MAX_COST_USD = 1e6  # a call beyond it, or below 0, is a mistake: its cost counts as unknown

# Durations are counted by factors of 1.04: a percentile is off by 2 % at most.
_LOG_STEP = 39_220_713_153  # ln(1.04) in units of 1e-12
_LOWEST_BUCKET = -1_000  # far below 0.001 ms, so that the division below has no negatives
_SHORTEST_MS = 0.001
_LONGEST_MS = 1e12

_SERVED = Outcome.SERVED.value
_CALL = UnitSource.CALL.value


class CellKey(NamedTuple):
    """Which cell a call is in; `arm` is the assigned one."""

    experiment_id: str
    epoch: int
    stage: int
    arm: str


class Facts(NamedTuple):
    """What matters of one call; the fields mean what `CallRecord`'s do.

    Args:
        failure, label, confidence: The verdict; confidence in [0, 1].
        ll, ttft_ll: Logarithms of latency and time to first token, see `ll_of`.
        audit_ppm: Probability of being drawn; None when the call is not in the design.
        human: The label of the audit that counts, see `core.feedback`.
        values: Names and values in millionths of the other audit feedback that counts.
        is_corrected: Somebody corrected it unasked: counted, never tested.
    """

    experiment_id: str
    epoch: int
    stage: int
    arm: str
    unit_id: str
    unit_source: str
    outcome: str
    failure: str | None
    label: str | None
    confidence: float | None
    served_by: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    ll: int
    ttft_ll: int | None
    audit_ppm: int | None
    is_drawn: bool
    human: str | None = None
    values: tuple[tuple[str, int], ...] = ()
    is_corrected: bool = False

    @property
    def cell(self) -> CellKey:
        """The cell that counts it."""
        return CellKey(self.experiment_id, self.epoch, self.stage, self.arm)

    @property
    def is_ok(self) -> bool:
        """Whether the assigned arm gave an answer that could be read."""
        return self.outcome == _SERVED and self.failure is None

    @property
    def is_alone(self) -> bool:
        """Whether the call is a unit of its own."""
        return self.unit_source == _CALL

    @property
    def is_drawn_for_audit(self) -> bool:
        """Whether it is one of those whose labels are tested."""
        return bool(self.audit_ppm) and self.is_drawn and self.is_ok

    @property
    def is_labelled(self) -> bool:
        """Whether it was drawn, and a human's label came back."""
        has_both = self.human is not None and self.label is not None
        return has_both and self.is_drawn_for_audit


def ll_of(duration_ms: float) -> int:
    """Return the natural logarithm of a duration, in millionths.

    Computed once and stored: two logarithms may differ in their last digit.

    Example:
        >>> ll_of(1.0), ll_of(0.0), ll_of(2000.0)
        (0, -6907755, 7600902)
    """
    return round(math.log(max(_SHORTEST_MS, min(_LONGEST_MS, duration_ms))) * MICRO)


def bucket_of(ll: int) -> int:
    """Return floor(ll / ln 1.04): the number of a duration's bucket.

    Example:
        >>> bucket_of(0), bucket_of(-1), bucket_of(ll_of(2000.0))
        (0, -1, 193)
    """
    return (ll * MICRO - _LOWEST_BUCKET * _LOG_STEP) // _LOG_STEP + _LOWEST_BUCKET


def nano_usd(cost_usd: float | None) -> int | None:
    """Return a cost in nano-USD; None when it is unknown."""
    if cost_usd is None or not 0 <= cost_usd <= MAX_COST_USD:
        return None
    return round(cost_usd * NANO)


def parts_of(confidence: float | None) -> int:
    """Return a confidence in ten-thousandths; `UNKNOWN_CONFIDENCE` for none."""
    return UNKNOWN_CONFIDENCE if confidence is None else round(confidence * CONFIDENCE)


def weight_of(audit_ppm: int) -> int:
    """Return how many calls a drawn one stands for, in millionths.

    Args:
        audit_ppm: From 1 to 1,000,000.

    Example:
        >>> weight_of(100_000), weight_of(30_000)
        (10000000, 33333333)
    """
    return (MICRO * MICRO + audit_ppm // 2) // audit_ppm
