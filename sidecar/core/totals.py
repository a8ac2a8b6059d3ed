"""What do calls add to the totals that every statistic is computed from?

A *cell* is the calls of one experiment, epoch and stage that were assigned to one arm. Its
totals are whole numbers by name, kept exact while calls, costs and feedback arrive in any
order. Some are sums over calls, some are moments over units: sums of squares of what a
unit's calls add up to, from which errors follow that respect the units. The same numbers
follow from the rows in SQL (`store.recount`). `core.cells` reads them back.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import mul, sub
from typing import NamedTuple

from sidecar.core.calls import Outcome
from sidecar.core.facts import (
    CONFIDENCE,
    MICRO,
    Facts,
    bucket_of,
    nano_usd,
    parts_of,
    weight_of,
)
from sidecar.core.routing import UnitSource

BINS = 10  # of confidences, for calibration

_CALL = UnitSource.CALL.value
_SERVED = Outcome.SERVED.value
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class UnitVector(NamedTuple):
    """What a unit's calls in one cell add up to.

    Args:
        n: Calls. `ll`, `cost`: sums, in fixed point.
        w, wy: Weights of its labelled calls, and of those where human and model agree.
    """

    n: int
    bad: int
    slow: int
    ll: int
    cost: int
    w: int
    wy: int


NOTHING = UnitVector(0, 0, 0, 0, 0, 0, 0)
_COUNTED = {"units": "n", "units_bad": "bad", "units_slow": "slow"}
_PRODUCTS = {
    "nn": ("n", "n"),
    "bad_n": ("bad", "n"),
    "bad2": ("bad", "bad"),
    "slow_n": ("slow", "n"),
    "slow2": ("slow", "slow"),
    "ll_n": ("ll", "n"),
    "ll2": ("ll", "ll"),
    "cost_n": ("cost", "n"),
    "cost2": ("cost", "cost"),
    "u_w2": ("w", "w"),
    "u_wy2": ("wy", "wy"),
    "u_wy_w": ("wy", "w"),
}


def is_slow(call: Facts, slow_ms: float | None) -> bool:
    """Whether a call took longer than the plan allows; none did if it says nothing."""
    return slow_ms is not None and call.latency_ms > slow_ms


def sums_of(calls: Sequence[Facts], slow_ms: float | None) -> dict[str, int]:
    """Sum up calls of one cell, by the names that are sums over calls.

    Args:
        slow_ms: Of the epoch's plan; None when it has none.

    Returns:
        The sums; what is missing is 0.
    """
    ok = [call for call in calls if call.outcome == _SERVED and call.failure is None]
    sums = {
        "calls": len(calls),
        "ok": len(ok),
        "bad": len(calls) - len(ok),
        "slow": sum(is_slow(call, slow_ms) for call in calls) if slow_ms is not None else 0,
        "ll": sum([call.ll for call in calls]),
        "sticky_calls": sum([call.unit_source != _CALL for call in calls]),
        "corrections": sum([call.is_corrected for call in calls]),
        **_known("cost", [nano_usd(call.cost_usd) for call in calls]),
        **_kinds("outcome", [call.outcome for call in calls]),
        **_kinds("failure", [call.failure for call in calls]),
        **_kinds("label", [call.label for call in ok]),
        **_kinds("served_by", [call.served_by for call in calls]),
        **_kinds("latency", [bucket_of(call.ll) for call in calls]),
        **_kinds(
            "ttft", [bucket_of(call.ttft_ll) for call in calls if call.ttft_ll is not None]
        ),
    }
    for name in _TOKENS:
        sums.update(_known(name, [getattr(call, name) for call in calls]))
    designed = [call for call in ok if call.audit_ppm]
    return {**sums, **_audit(designed)} if designed else sums


def vectors_of(calls: Sequence[Facts], slow_ms: float | None) -> list[UnitVector]:
    """Give each call as a unit's vector."""
    # A drain does this for every call: a list at a time is three times as fast.
    limit = math.inf if slow_ms is None else slow_ms
    weights = [0 if call.human is None else _weight(call) for call in calls]
    agreeing = [
        w if w and call.human == call.label else 0
        for w, call in zip(weights, calls, strict=True)
    ]
    columns = zip(
        repeat(1),
        [call.outcome != _SERVED or call.failure is not None for call in calls],
        [call.latency_ms > limit for call in calls],
        [call.ll for call in calls],
        [nano_usd(call.cost_usd) or 0 for call in calls],
        weights,
        agreeing,
        strict=False,
    )
    return list(map(UnitVector._make, columns))


def vector_of(call: Facts, slow_ms: float | None) -> UnitVector:
    """Give a single call as a unit's vector."""
    return vectors_of([call], slow_ms)[0]


def moments_of(units: Sequence[UnitVector]) -> dict[str, int]:
    """Give the moments over units of one cell, for errors that respect the units."""
    if not units:
        return {}
    is_ = dict(zip(UnitVector._fields, zip(*units, strict=True), strict=True))
    counts = {name: sum(map(bool, is_[of])) for name, of in _COUNTED.items() if any(is_[of])}
    return counts | {
        name: _dot(is_[first], is_[second])
        for name, (first, second) in _PRODUCTS.items()
        if any(is_[first]) or any(is_[second])
    }


def moments_gained(now: Sequence[UnitVector], more: Sequence[UnitVector]) -> dict[str, int]:
    """Give by how much the moments over units grow when calls are added to them.

    Args:
        now: What the units are with the addition.
        more: What was added to each, in the same order.
    """
    if not now:
        return {}
    is_ = dict(zip(UnitVector._fields, zip(*now, strict=True), strict=True))
    gain = dict(zip(UnitVector._fields, zip(*more, strict=True), strict=True))
    counts = {
        name: sum(map(bool, is_[of])) - sum(map(bool, map(sub, is_[of], gain[of])))
        for name, of in _COUNTED.items()
        if any(gain[of])
    }
    return counts | {
        name: _gained(is_[first], gain[first], is_[second], gain[second])
        for name, (first, second) in _PRODUCTS.items()
        if any(gain[first]) or any(gain[second])
    }


def weighted_values(call: Facts) -> dict[str, tuple[int, int]]:
    """Give a call's named values as a unit's sums: weight, and weight times value."""
    if not (call.values and call.is_drawn_for_audit):
        return {}
    w = weight_of(call.audit_ppm or MICRO)
    return {name: (w, w * value) for name, value in call.values}


def value_moments(name: str, units: Iterable[tuple[int, int]]) -> dict[str, int]:
    """Give the moments over units of a named value's weighted sums."""
    pairs = list(units)
    return {
        f"value:{name}:u_w2": sum(w * w for w, _ in pairs),
        f"value:{name}:u_wv_w": sum(wv * w for w, wv in pairs),
        f"value:{name}:u_wv2": sum(wv * wv for _, wv in pairs),
    }


def added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Add two mappings of totals, name by name."""
    sums = dict(first)
    for name, value in second.items():
        sums[name] = sums.get(name, 0) + value
    return sums


def change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Subtract totals, name by name, and leave out what stays the same."""
    names = before.keys() | after.keys()
    pairs = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: value for name, value in pairs.items() if value}


def pair_name(kind: str, model: str, human: str) -> str:
    """Name a total by the model's label and the human's."""
    pair = json.dumps([model, human], ensure_ascii=False, separators=(",", ":"))
    return f"{kind}:{pair}"


def _weight(call: Facts) -> int:
    return weight_of(call.audit_ppm or MICRO) if call.is_labelled else 0


def _dot(first: Iterable[int], second: Iterable[int]) -> int:
    return sum(map(mul, first, second))


def _gained(
    x: Sequence[int], more_x: Sequence[int], y: Sequence[int], more_y: Sequence[int]
) -> int:
    """Give the sum of x y, less what it was: with x and y as they are, and what they gained."""
    if x is y:
        return 2 * _dot(x, more_x) - _dot(more_x, more_x)
    return _dot(x, more_y) + _dot(more_x, y) - _dot(more_x, more_y)


def _known(name: str, values: Sequence[int | None]) -> dict[str, int]:
    known = [value for value in values if value is not None]
    return {name: sum(known), f"{name}_known": len(known)}


def _kinds(kind: str, values: Iterable[object]) -> dict[str, int]:
    return {f"{kind}:{value}": n for value, n in Counter(values).items() if value is not None}


def _audit(designed: Sequence[Facts]) -> dict[str, int]:
    """Sum up the audit: `designed` are the calls that could be drawn."""
    f = [parts_of(call.confidence) for call in designed]
    drawn = [call for call in designed if call.is_drawn]
    sums: Counter[str] = Counter(
        audit_n=len(f), audit_f=sum(f), audit_ff=_dot(f, f), drawn=len(drawn)
    )
    for call in drawn:
        w = weight_of(call.audit_ppm or MICRO)
        if call.is_labelled:
            sums.update(_labelled(call, w))
        for name, v in call.values:
            sums.update(_value(f"value:{name}", v, w))
    return dict(sums)


def _labelled(call: Facts, w: int) -> dict[str, int]:
    """Give the sums of one call that a human labelled."""
    model, human = str(call.label), str(call.human)
    y, f = int(human == model), parts_of(call.confidence)
    brier, w2 = (f - CONFIDENCE * y) ** 2, w * w
    reliability = f"reliability:{min(f * BINS // CONFIDENCE, BINS - 1)}"
    sums = {"labelled": 1, "agree": y, "disagree": 1 - y}
    for name, weight in (("w", w), ("w2", w2)):
        sums |= {
            name: weight,
            f"{name}y": weight * y,
            f"{name}f": weight * f,
            f"{name}yf": weight * y * f,
            f"{name}ff": weight * f * f,
            f"{name}_brier": weight * brier,
        }
    return sums | {
        "w2_brier2": w2 * brier * brier,
        pair_name("confusion", model, human): 1,
        pair_name("confusion_w", model, human): w,
        f"{reliability}:w": w,
        f"{reliability}:wf": w * f,
        f"{reliability}:wy": w * y,
    }


def _value(name: str, v: int, w: int) -> dict[str, int]:
    """Give the sums of one named value."""
    w2 = w * w
    return {
        f"{name}:n": 1,
        f"{name}:v": v,
        f"{name}:vv": v * v,
        f"{name}:w": w,
        f"{name}:wv": w * v,
        f"{name}:w2": w2,
        f"{name}:w2v": w2 * v,
        f"{name}:w2vv": w2 * v * v,
    }
