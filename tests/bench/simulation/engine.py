"""What does the whole engine do to a canary whose truth is known?

Judgments are drawn look by look; the product's statistics read them, and the product's own
decision rule, with a ramp, three guardrails, the sample ratio and the goal, decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.core.decision import decide
from sidecar.core.plan import Goal, Guard, Guardrail, Horizon, Mode, Objective, Plan, Step
from sidecar.core.readings import (
    TERMINAL,
    GoalReading,
    GuardrailReading,
    Readings,
    Standing,
    State,
)
from sidecar.core.stats.counts import risk_ratio_log_es
from sidecar.core.stats.proportions import (
    GATE_EXPECTED_MINORITY,
    MIN_LABELLED_CANARY,
    stratified_differences,
)
from sidecar.core.stats.sequential import Interval, half_width
from sidecar.core.stats.spending import Spending
from sidecar.core.stats.srm import dirichlet_multinomial_log_e

Array = NDArray[np.float64]
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOOK_S = 180.0
LOOKS = 260
PER_LOOK = 500  # judgments
AUDITED = 0.1
AGREEMENT, ERRORS, SLOW = 0.85, 0.01, 0.05
METRICS = (Guard.BAD_RATE, Guard.SLOW_SHARE, Guard.DISAGREEMENTS)
RAMP = tuple(
    Step(share_bp, 0, looks * LOOK_S)
    for share_bp, looks in ((100, 10), (500, 10), (2_500, 20), (5_000, 1))
)
SHARES = np.array([step.share_bp / 10_000 for step in RAMP])
N, BAD, SLOWER, LABELLED, AGREED = range(5)  # what is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """How a canary really differs from its primary.

    Args:
        gain: Its agreement less the primary's.
        errors, slow: Its rates over the primary's.
        split: Its units over those it was meant to get.
        drift: How far the agreement of both swings with time.
    """

    gain: float = 0.0
    errors: float = 1.0
    slow: float = 1.0
    split: float = 1.0
    drift: float = 0.03


@dataclass(slots=True)
class Outcomes:
    """How each experiment ended: its state and why, at which look, after how many judgments."""

    state: NDArray[np.object_]
    reason: NDArray[np.object_]
    looks: NDArray[np.int64]
    judgments: NDArray[np.int64]

    def rate(self, state: State, reason: str = "") -> float:
        """Share of experiments that ended so, for a reason that starts so."""
        why = np.array([text.startswith(reason) for text in self.reason])
        return float(((self.state == state) & why).mean())


def plan_of(objective: Objective = Objective.NON_INFERIORITY, *, horizon_look: bool) -> Plan:
    """The study's plan: margin 3 pp, ratio 1.25, no minimum duration, 260 looks."""
    return Plan(
        goal=Goal(objective=objective, effect=0.03),
        guardrails=tuple(Guardrail(metric, 1.25) for metric in METRICS),
        slow_ms=2000.0,
        ramp=RAMP,
        horizon_look=horizon_look,
        horizon=Horizon(max_duration_s=LOOKS * LOOK_S),
        min_duration_s=0.0,
        mode=Mode.AUTO,
        breaker_failures=None,
    )


def simulate(rng: np.random.Generator, plan: Plan, truth: Truth, runs: int) -> Outcomes:
    """Run experiments until each one is decided."""
    counts = np.zeros((5, 2, runs, len(RAMP)))
    step, looks_in_step = np.zeros(runs, int), np.zeros(runs, int)
    ended = Outcomes(
        np.full(runs, None, object),
        np.full(runs, "", object),
        np.zeros(runs, int),
        np.zeros(runs, int),
    )
    active = np.arange(runs)
    for look in range(LOOKS):
        counts[:, :, active, step[active]] += _draw(rng, truth, SHARES[step[active]], look)
        looks_in_step[active] += 1
        seen = read(plan, counts[:, :, active])
        for i, run in enumerate(active):
            readings = readings_at(seen, i, look, int(step[run]), int(looks_in_step[run]))
            decision = decide(plan, readings, Standing(last_look_at=START))
            if decision.state is State.ADVANCE:
                step[run] += 1
                looks_in_step[run] = 0
            elif decision.state in TERMINAL:
                ended.state[run], ended.reason[run] = decision.state, decision.reasons[0]
                ended.looks[run] = look + 1
        active = active[ended.looks[active] == 0]
        if not len(active):
            break
    ended.judgments[:] = counts[N, 1].sum(axis=-1)
    return ended


def _draw(rng: np.random.Generator, truth: Truth, shares: Array, look: int) -> Array:
    """Judgments between two looks: shape (counted, arms, experiments)."""
    canary = rng.binomial(PER_LOOK, shares * truth.split)
    base = AGREEMENT + truth.drift * np.sin(look / 25)
    drawn = [
        _arm(rng, PER_LOOK - canary, (ERRORS, SLOW, base)),
        _arm(rng, canary, (ERRORS * truth.errors, SLOW * truth.slow, base + truth.gain)),
    ]
    return np.stack(drawn, axis=1)


def _arm(rng: np.random.Generator, n: NDArray[np.int64], rates: tuple[float, ...]) -> Array:
    errors, slow, agreement = (min(rate, 1.0) for rate in rates)
    bad = rng.binomial(n, errors)
    labelled = rng.binomial(n - bad, AUDITED)
    return np.stack(
        [n, bad, rng.binomial(n, slow), labelled, rng.binomial(labelled, agreement)]
    ).astype(float)


def read(plan: Plan, counts: Array) -> dict[str, Any]:
    """What the product's statistics make of the counts, for every experiment at once."""
    primary, canary = counts[:, 0], counts[:, 1]
    estimate, se, minority = stratified_differences(
        primary[LABELLED], primary[AGREED], canary[LABELLED], canary[AGREED]
    )
    is_open = minority >= GATE_EXPECTED_MINORITY
    is_open &= canary[LABELLED].sum(axis=-1) >= MIN_LABELLED_CANARY
    spending, se = (
        Spending(plan.alpha, horizon_look=plan.horizon_look),
        np.where(is_open, se, 1),
    )
    half = half_width(se, plan.goal.effect, spending.alpha_sequential)
    return {
        "estimate": estimate.tolist(),
        "half": half.tolist(),
        "half_at_horizon": np.minimum(half, spending.z_at_horizon * se).tolist(),
        "is_open": is_open.tolist(),
        "labelled": counts[LABELLED].sum(axis=(0, -1)).astype(int).tolist(),
        "srm": _split_log_e(primary[N], canary[N]).tolist(),
        "guardrails": [log_e.tolist() for log_e in _guardrails(primary, canary)],
    }


def _guardrails(primary: Array, canary: Array) -> list[Array]:
    events = [
        (canary[BAD], primary[BAD]),
        (canary[SLOWER], primary[SLOWER]),
        (canary[LABELLED] - canary[AGREED], primary[LABELLED] - primary[AGREED]),
    ]
    return [risk_ratio_log_es(c, p, SHARES, 1.25) for c, p in events]


def _split_log_e(primary: Array, canary: Array) -> Array:
    units = np.stack([primary, canary], axis=-1)
    parts = [
        dirichlet_multinomial_log_e(units[:, stage], [1 - share, share])
        for stage, share in enumerate(SHARES)
    ]
    return np.sum(parts, axis=0)


def readings_at(
    seen: dict[str, Any], i: int, look: int, step: int, looks_in_step: int
) -> Readings:
    """The readings of one experiment, as the decision rule takes them."""
    goal = GoalReading()
    if seen["is_open"][i]:
        middle = seen["estimate"][i]
        goal = GoalReading(
            estimate=middle,
            interval=_around(middle, seen["half"][i]),
            at_horizon=_around(middle, seen["half_at_horizon"][i]),
        )
    return Readings(
        at=START + timedelta(seconds=(look + 1) * LOOK_S),
        goal=goal,
        guardrails=tuple(_guardrail_readings(seen["guardrails"], i)),
        srm_log_e=seen["srm"][i],
        multi_arm_share=0.0,
        labelled=seen["labelled"][i],
        data_age_s=0.0,
        run_s=(look + 1) * LOOK_S,
        step=step,
        step_run_s=looks_in_step * LOOK_S,
        step_units=0,
        canary_bp=RAMP[step].share_bp,
    )


def _guardrail_readings(log_es: Sequence[Sequence[float]], i: int) -> list[GuardrailReading]:
    return [GuardrailReading(m, log_e[i]) for m, log_e in zip(METRICS, log_es, strict=True)]


def _around(middle: float, half: float) -> Interval:
    return Interval(middle - half, middle + half)
