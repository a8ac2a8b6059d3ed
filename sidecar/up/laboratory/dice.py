"""What does chance decide for one call, the same way in every run?

All dice of a call come from one hash of the model's seed, the model, what was asked, and
how often this was asked before. So a run can be repeated, the order of concurrent calls
does not matter, and raising a rate only adds to the calls that go wrong.
"""

import hashlib
import math
import struct
from collections import OrderedDict
from dataclasses import dataclass
from statistics import NormalDist

from sidecar.up.laboratory.settings import Latency

_P95 = NormalDist().inv_cdf(0.95)
_EDGE = 2.0**-53  # keeps a uniform number off 0 and 1, where the normal quantile is infinite


@dataclass(frozen=True, slots=True)
class Dice:
    """Independent uniform numbers in [0, 1), one for each thing chance decides."""

    latency: float
    error: float
    malformed: float
    malformed_kind: float
    fence: float
    noise: float
    noise_label: float
    wording: float


def throw(*, seed: int, model: str, content: bytes, occurrence: int) -> Dice:
    """Throw all dice of one call.

    Args:
        seed: The model's setting.
        model: The name asked for.
        content: A digest of what was asked, whatever the endpoint.
        occurrence: How often this model was asked the same before, from 0.
    """
    head = f"{seed}\n{model}\n{occurrence}\n".encode()
    # SHA-512 because one digest of it holds eight independent 64-bit numbers.
    words = struct.unpack(">8Q", hashlib.sha512(head + content).digest())
    return Dice(*((word >> 11) * 2.0**-53 for word in words))


def latency_s(latency: Latency, uniform: float) -> float:
    """Draw from the lognormal distribution with this median and 95th percentile.

    Args:
        latency: In milliseconds.
        uniform: In [0, 1).

    Returns:
        Seconds, at least 0.
    """
    if latency.p95 is None or latency.median == latency.p95:
        return latency.median / 1000
    sigma = math.log(latency.p95 / latency.median) / _P95
    normal = NormalDist().inv_cdf(min(max(uniform, _EDGE), 1 - _EDGE))
    return latency.median / 1000 * math.exp(sigma * normal)


def pick(count: int, uniform: float) -> int:
    """Pick one of `count` things: an index in [0, count)."""
    return min(int(uniform * count), count - 1)


class Occurrences:
    """Counts how often the same was asked, forgetting what was not asked for long."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit  # some 30 MB; a longer run repeats nothing that old
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def next(self, key: bytes) -> int:
        """Return how often `key` was seen before, and count this time."""
        seen = self._counts.pop(key, 0)
        self._counts[key] = seen + 1
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return seen

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
