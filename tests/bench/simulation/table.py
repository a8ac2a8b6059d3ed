"""Does the whole engine do what the study's engine did? Its table, row by row.

The study (README C5) ran its own prototype: 500 judgments a look, 10 % audited, base
agreement 0.85, margin 3 pp, three guardrails at 1.25, no look at the horizon. Here the
product's statistics and its decision rule run the same experiments.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sidecar.core.plan import Objective
from sidecar.core.readings import State
from tests.bench.simulation.engine import Outcomes, Truth, plan_of, simulate
from tests.bench.simulation.findings import Finding, Findings, as_published, at_most

ENDINGS: Mapping[str, tuple[State, str]] = {
    "promote": (State.PROMOTE, ""),
    "guardrail rollback": (State.ROLLBACK, "guardrail"),
    "goal rollback": (State.ROLLBACK, "goal"),
    "invalid": (State.INVALID_SRM, ""),
    "inconclusive": (State.INCONCLUSIVE, ""),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        known: Share of each ending that the study found.
        known_runs: Of how many experiments.
        bounds: What theory permits of an ending.
        looks, judgments: The study's medians: looks until the end, canary judgments by then.
    """

    name: str
    truth: Truth
    known: Mapping[str, float] = field(default_factory=dict)
    known_runs: int = 800
    objective: Objective = Objective.NON_INFERIORITY
    horizon_look: bool = False
    bounds: Mapping[str, float] = field(default_factory=dict)
    looks: float | None = None
    judgments: float | None = None


def _endings(*shares: float) -> dict[str, float]:
    return dict(zip(ENDINGS, shares, strict=True))


SUPERIOR = Objective.SUPERIORITY
CERTAIN = {"promote": 0.0, "guardrail rollback": 1.0}
ROWS = (
    Row(
        "A/A",
        Truth(),
        _endings(0.963, 0.003, 0, 0.002, 0.033),
        5000,
        bounds={"invalid": 0.001, "guardrail rollback": 0.05, "goal rollback": 0.025},
        looks=99,
        judgments=17_600,
    ),
    Row(
        "3 pp worse, the margin",
        Truth(gain=-0.03),
        _endings(0.014, 0.005, 0.009, 0, 0.971),
        5000,
        bounds={"promote": 0.025},
        looks=260,
    ),
    Row(
        "guardrails at 1.25, the limit",
        Truth(errors=1.25, slow=1.25),
        _endings(0.953, 0.015, 0, 0, 0.032),
        5000,
        bounds={"guardrail rollback": 0.05},
        looks=98,
    ),
    Row(
        "superiority, A/A",
        Truth(),
        _endings(0.011, 0.003, 0.009, 0, 0.977),
        5000,
        SUPERIOR,
        bounds={"promote": 0.025, "goal rollback": 0.025},
        looks=260,
    ),
    Row(
        "superiority, A/A, drift 10 pp",
        Truth(drift=0.10),
        {"promote": 0.017},
        5000,
        SUPERIOR,
        bounds={"promote": 0.025, "goal rollback": 0.025},
    ),
    Row("2 pp better", Truth(gain=0.02), _endings(1, 0, 0, 0, 0), looks=52, judgments=5_800),
    Row(
        "5 pp worse",
        Truth(gain=-0.05),
        _endings(0, 0.026, 0.540, 0, 0.434),
        looks=236,
        judgments=51_900,
    ),
    Row(
        "25 pp worse",
        Truth(gain=-0.25),
        _endings(0, 0.988, 0.013, 0, 0),
        looks=23,
        judgments=654,
    ),
    Row("errors times 3", Truth(errors=3), CERTAIN, looks=24, judgments=796),
    Row("errors times 50", Truth(errors=50), CERTAIN, looks=2, judgments=10),
    Row("slow share doubled", Truth(slow=2), CERTAIN, looks=23, judgments=725),
    Row(
        "canary gets 10 % too few",
        Truth(split=0.9),
        _endings(0.006, 0, 0, 0.994, 0),
        looks=32,
    ),
    # Not in the study's table: the default plan, which spends half of alpha at the horizon.
    Row(
        "default plan, 3 pp worse, the margin",
        Truth(gain=-0.03),
        horizon_look=True,
        bounds={"promote": 0.025, "goal rollback": 0.025, "guardrail rollback": 0.05},
    ),
)


def engine(rng: np.random.Generator, runs: int) -> Findings:
    """D2.10: the table; half the runs for its long rows, a twelfth for its short ones."""
    for row in ROWS:
        size = (
            max(runs // 12, 50) if row.known_runs < 5000 and row.known else max(runs // 2, 50)
        )
        plan = plan_of(row.objective, horizon_look=row.horizon_look)
        yield from _compared(row, simulate(rng, plan, row.truth, size), size)


def _compared(row: Row, found: Outcomes, runs: int) -> Findings:
    for ending, (state, reason) in ENDINGS.items():
        rate = found.rate(state, reason)
        if ending in row.known:
            known = (row.known[ending], row.known_runs)
            yield as_published(f"engine, {row.name}: {ending}", rate, runs, known)
        if ending in row.bounds:
            name = f"engine, {row.name}: {ending}, by theory"
            yield at_most(name, rate, runs, row.bounds[ending])
    medians = (("looks", found.looks, row.looks), ("judgments", found.judgments, row.judgments))
    for what, values, known_median in medians:
        if known_median is not None:
            name = f"engine, {row.name}: median {what}"
            yield _median(name, values, known_median, row.known_runs)


def _median(name: str, values: np.ndarray, known: float, known_runs: int) -> Finding:
    """Compare two simulated medians: three standard errors, from our own order statistics."""
    n = len(values)
    ranks = 0.5 + 1.5 / math.sqrt(n) * np.array([-1, 1])
    low, high = np.quantile(values, np.clip(ranks, 0, 1))
    # The study printed three digits, and medians of looks are whole numbers.
    room = (high - low) / 2 * math.sqrt(1 + n / known_runs) + 0.01 * known + 1
    return Finding(name, float(np.median(values)), low=known - room, high=known + room)
