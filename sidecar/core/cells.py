"""What do a cell's totals say? The stored names, read as numbers in their natural units.

The totals are exact whole numbers in fixed point; here each becomes the nearest float, in
USD, natural logarithms of milliseconds, and weights where a call that is surely drawn has 1.
A total that is not there is 0.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from sidecar.core.facts import CONFIDENCE, MICRO, NANO
from sidecar.core.totals import BINS, added

_AUDIT = {  # scale of each sum
    "w": MICRO,
    "wy": MICRO,
    "wf": MICRO * CONFIDENCE,
    "wyf": MICRO * CONFIDENCE,
    "wff": MICRO * CONFIDENCE**2,
    "w2": MICRO**2,
    "w2y": MICRO**2,
    "w2f": MICRO**2 * CONFIDENCE,
    "w2yf": MICRO**2 * CONFIDENCE,
    "w2ff": MICRO**2 * CONFIDENCE**2,
    "w_brier": MICRO * CONFIDENCE**2,
    "w2_brier": MICRO**2 * CONFIDENCE**2,
    "w2_brier2": MICRO**2 * CONFIDENCE**4,
}
_VALUE = {
    "v": MICRO,
    "vv": MICRO**2,
    "w": MICRO,
    "wv": MICRO**2,
    "w2": MICRO**2,
    "w2v": MICRO**3,
    "w2vv": MICRO**4,
    "u_w2": MICRO**2,
    "u_wv_w": MICRO**3,
    "u_wv2": MICRO**4,
}
_UNITS = {
    "units": 1,
    "nn": 1,
    "units_bad": 1,
    "bad_n": 1,
    "bad2": 1,
    "units_slow": 1,
    "slow_n": 1,
    "slow2": 1,
    "ll_n": MICRO,
    "ll2": MICRO**2,
    "cost_n": NANO,
    "cost2": NANO**2,
    "u_w2": MICRO**2,
    "u_wy2": MICRO**2,
    "u_wy_w": MICRO**2,
    "multi_arm_units": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSums:
    """Sums over the audit design, and over its labelled calls by weight w = 1/probability.

    Args:
        audit_n: Calls with a readable answer that could be drawn.
        audit_f, audit_ff: Sums of their confidences f in [0, 1], and of the squares.
        drawn, labelled: How many were drawn, and came back with a label.
        agree: Labelled calls where human and model agree: those of y = 1, unweighted.
        w, wy, wf, wyf, wff, w2, ...: Sums over labelled calls of the product named;
            `w2` is w squared.
        w_brier, w2_brier, w2_brier2: The same of (f - y) squared, and of its square.
    """

    audit_n: int
    audit_f: float
    audit_ff: float
    drawn: int
    labelled: int
    agree: int
    w: float
    wy: float
    wf: float
    wyf: float
    wff: float
    w2: float
    w2y: float
    w2f: float
    w2yf: float
    w2ff: float
    w_brier: float
    w2_brier: float
    w2_brier2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSums:
    """Sums of a named feedback's values v over drawn calls, by weight w.

    Args:
        n: Calls with a value. A boolean is 0 or 1.
        u_w2, u_wv_w, u_wv2: Over units: sums of W squared, WV times W, and WV squared,
            where W and WV are the unit's own sums of w and w v.
    """

    n: int
    v: float
    vv: float
    w: float
    wv: float
    w2: float
    w2v: float
    w2vv: float
    u_w2: float
    u_wv_w: float
    u_wv2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitMoments:
    """Sums over units u of products of what their calls add up to.

    Args:
        nn: Of n_u squared, n_u being the unit's calls. `bad_n`: of bad_u n_u; and so on.
        units_bad, units_slow: Units with a bad call, a slow call.
        ll2, ll_n: Of logarithms of latency in ms. `cost2`, `cost_n`: of USD, an unknown
            cost being 0.
        u_w2, u_wy2, u_wy_w: Of audit weights W_u, and of W_u where human and model agree.
        multi_arm_units: Units of this arm that are in an arm before it within the stage
            too; `primary` is the first, then arms go by name.
    """

    units: int
    nn: int
    units_bad: int
    bad_n: int
    bad2: int
    units_slow: int
    slow_n: int
    slow2: int
    ll_n: float
    ll2: float
    cost_n: float
    cost2: float
    u_w2: float
    u_wy2: float
    u_wy_w: float
    multi_arm_units: int


_EXACT = frozenset(field.name for field in fields(UnitMoments) if field.type is int)


@dataclass(frozen=True, slots=True)
class Pair:
    """Calls of one pair of labels: how many, and how many they stand for."""

    n: int
    w: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Labelled calls of one tenth of the confidences: weight, and weighted f and y."""

    w: float
    wf: float
    wy: float


@dataclass(frozen=True)
class Cell:
    """The totals of one experiment, epoch, stage and assigned arm.

    Cells of several stages may be added; what is in both is then summed, units too. What is
    read from the names is read once: an analysis asks for the same again and again.
    """

    totals: Mapping[str, int]

    def __add__(self, other: "Cell") -> "Cell":
        return Cell(added(self.totals, other.totals))

    def count(self, name: str) -> int:
        """Give a total as it is stored: `calls`, `ok`, `bad`, `slow`, `disagree`, ..."""
        return self.totals.get(name, 0)

    @property
    def calls(self) -> int:
        """Calls."""
        return self.count("calls")

    @property
    def ll(self) -> float:
        """Sum of the natural logarithms of latencies in ms."""
        return self.count("ll") / MICRO

    @property
    def cost_usd(self) -> float | None:
        """Sum of the known costs; None when none is known."""
        return self.count("cost") / NANO if self.count("cost_known") else None

    def tokens(self, kind: str) -> int | None:
        """Sum of `prompt_tokens`, `completion_tokens` or `cached_tokens`; None if unknown."""
        return self.count(kind) if self.count(f"{kind}_known") else None

    def kinds(self, kind: str) -> dict[str, int]:
        """Calls by `outcome`, `failure`, `label` or `served_by`, the most frequent first."""
        found = [(name[len(kind) + 1 :], n) for name, n in self._of(kind)]
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))

    def durations(self, kind: str) -> dict[int, int]:
        """Calls by bucket of their `latency` or `ttft`, in order; see `edge_ms`."""
        return dict(sorted((int(name[len(kind) + 1 :]), n) for name, n in self._of(kind)))

    @cached_property
    def audit(self) -> AuditSums:
        """The audit's sums."""
        return AuditSums(
            audit_n=self.count("audit_n"),
            audit_f=self.count("audit_f") / CONFIDENCE,
            audit_ff=self.count("audit_ff") / CONFIDENCE**2,
            drawn=self.count("drawn"),
            labelled=self.count("labelled"),
            agree=self.count("agree"),
            **{name: self.count(name) / scale for name, scale in _AUDIT.items()},
        )

    @cached_property
    def units(self) -> UnitMoments:
        """The moments over units."""
        scaled = {name: self.count(name) / scale for name, scale in _UNITS.items()}
        return UnitMoments(**scaled | {name: self.count(name) for name in _EXACT})  # type: ignore[arg-type]

    @property
    def confusion(self) -> dict[tuple[str, str], Pair]:
        """Labelled calls by the model's label and the human's."""
        counted = {name.partition(":")[2]: n for name, n in self._of("confusion")}
        pairs = {}
        for encoded in sorted(counted):
            model, human = json.loads(encoded)
            w = self.count(f"confusion_w:{encoded}") / MICRO
            pairs[model, human] = Pair(counted[encoded], w)
        return pairs

    @property
    def reliability(self) -> tuple[Bin, ...]:
        """Labelled calls by tenths of the confidence; a confidence of 1 is in the last."""
        return tuple(
            Bin(
                self.count(f"reliability:{place}:w") / MICRO,
                self.count(f"reliability:{place}:wf") / (MICRO * CONFIDENCE),
                self.count(f"reliability:{place}:wy") / MICRO,
            )
            for place in range(BINS)
        )

    @property
    def value_names(self) -> list[str]:
        """Names of the feedback that has values here."""
        counted = (name.removeprefix("value:") for name, _ in self._of("value"))
        return sorted(name.removesuffix(":n") for name in counted if name.endswith(":n"))

    def value(self, name: str) -> ValueSums:
        """Sums of a named feedback's values."""
        sums = {key: self.count(f"value:{name}:{key}") / scale for key, scale in _VALUE.items()}
        return ValueSums(n=self.count(f"value:{name}:n"), **sums)

    def _of(self, kind: str) -> list[tuple[str, int]]:
        return self._kinds.get(kind, [])

    @cached_property
    def _kinds(self) -> dict[str, list[tuple[str, int]]]:
        """The totals that have a colon in their name, by what is before it."""
        kinds: dict[str, list[tuple[str, int]]] = {}
        for name, n in self.totals.items():
            kind, colon, _ = name.partition(":")
            if colon and n:
                kinds.setdefault(kind, []).append((name, n))
        return kinds
