"""What was decided about an experiment before its first call? The analysis plan.

A plan is frozen when its epoch starts and known by its hash. Any change is a new epoch, for
an error rate only holds for what was fixed before the data were seen. `core/plan_reading.py`
reads a plan from JSON and refuses what makes no sense; a default stands here, in the field
that has it, and nowhere else.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from sidecar.core.assignment import BUCKETS
from sidecar.core.routing import Task, UnitSource
from sidecar.core.verdicts import DEFAULT_LABELS

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Mode(StrEnum):
    """What the controller may do by itself."""

    ADVISE = "advise"  # nothing: it recommends
    AUTO_ROLLBACK = "auto_rollback"  # take a canary out of traffic
    AUTO = "auto"  # that, and advance and promote one


class Objective(StrEnum):
    """What must be shown of the canary before it is promoted."""

    NON_INFERIORITY = "non_inferiority"  # it is not worse by more than the margin
    SUPERIORITY = "superiority"  # it is better


class Kind(StrEnum):
    """What the goal's values are."""

    BOOLEAN = "boolean"
    FLOAT = "float"


class Guard(StrEnum):
    """What may not get worse."""

    BAD_RATE = "bad_rate"  # failed, failed over, or no readable answer
    SLOW_SHARE = "slow_share"  # slower than the plan's `slow_ms`
    DISAGREEMENTS = "disagreements"  # audited calls whose human label differs
    COST = "cost"  # mean cost of a call


class Weighting(StrEnum):
    """How the audit draws calls."""

    UNIFORM = "uniform"
    UNCERTAIN = "uncertain"  # half uniform, half towards uncertain answers


class InconclusiveAction(StrEnum):
    """What follows when the horizon passes without a decision."""

    KEEP_PRIMARY = "keep_primary"  # the canary's share goes to 0
    MANUAL = "manual"  # shares stay until a person decides


@dataclass(frozen=True, slots=True)
class Goal:
    """The metric that decides, and what must be shown of it.

    Args:
        metric: `agreement` with human labels, `approved` drafts, or a feedback's name.
        effect: The margin of non-inferiority, or the smallest improvement worth finding
            (MDE), in the metric's unit (0.03 is 3 percentage points). Above 0. It is also
            the prior's scale: tuned to it, the sequence is tightest where it matters.
    """

    metric: str = "agreement"
    kind: Kind = Kind.BOOLEAN
    objective: Objective = Objective.NON_INFERIORITY
    effect: float = 0.03

    @property
    def threshold(self) -> float:
        """Difference canary minus primary that separates promotion from rollback."""
        return -self.effect if self.objective is Objective.NON_INFERIORITY else 0.0


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that may not get worse than its limit.

    Args:
        limit: Of a count (`bad_rate`, `slow_share`, `disagreements`): the largest harmless
            risk ratio canary to primary, at least 1. Of `cost`: the largest harmless
            relative increase, above 0.
    """

    metric: Guard
    limit: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the ramp.

    Args:
        share_bp: Share of all canaries together, in basis points.
        min_units: Units that every canary must have in this step before the next.
        min_time_s: Seconds of running time in this step before the next.
    """

    share_bp: int
    min_units: int
    min_time_s: float


HALF_AN_HOUR_S = HOUR_S / 2
# Small first steps bound the harm; 50 units show a canary that mostly fails, with certainty.
DEFAULT_RAMP = (
    Step(100, 50, HALF_AN_HOUR_S),
    Step(500, 100, HALF_AN_HOUR_S),
    Step(2_500, 200, HALF_AN_HOUR_S),
    Step(5_000, 200, HALF_AN_HOUR_S),
)


@dataclass(frozen=True, slots=True)
class Horizon:
    """Where the experiment ends, decided or not.

    Args:
        max_duration_s: Seconds of running time; None when labels alone end it.
        max_labelled: Audited calls with a label, over both arms; None for no such end.
    """

    max_duration_s: float | None = 14 * DAY_S
    max_labelled: int | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """How calls are drawn for blind human labels.

    Args:
        rate: Mean probability, in (0, 1].
        floor: Least probability under `uncertain`: a weight is its inverse, so a tiny
            probability would let one call outvote hundreds.
    """

    rate: float = 0.1
    weighting: Weighting = Weighting.UNIFORM
    floor: float = 0.01


@dataclass(frozen=True, slots=True)
class Holdback:
    """What stays with the primary after a promotion, to compare with for a while.

    Args:
        share_bp: 0 for none.
    """

    share_bp: int = 200
    hours: float = 24.0


DEFAULT_MAX_RATIO = 1.25
DEFAULT_GUARDRAILS = (
    Guardrail(Guard.BAD_RATE, DEFAULT_MAX_RATIO),
    Guardrail(Guard.DISAGREEMENTS, DEFAULT_MAX_RATIO),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the analysis and the controller go by.

    Args:
        labels: What a judge may answer, in order where there is one; empty when the task
            is no judge's.
        unit: The only source of a unit; None for the order of precedence.
        canaries: Arms that are compared with `primary`.
        slow_ms: What `slow_share` counts as slow; None when latency is only displayed.
        alpha: Two-sided error rate of the goal, over all looks.
        guardrail_alpha: Chance of any false guardrail rollback, over all looks.
        horizon_look: Spend half of alpha on one fixed-sample look at the horizon.
        min_duration_s: Running time before a promotion; a rollback never waits.
        breaker_failures: Failures of a canary in a row that empty its share at once; None
            for no breaker.
        grace_s: Seconds without a new call after which data count as stale.
    """

    task: Task = Task.JUDGE
    goal: Goal = Goal()
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    labels: tuple[str, ...] = DEFAULT_LABELS
    unit: UnitSource | None = None
    canaries: tuple[str, ...] = ("canary",)
    slow_ms: float | None = None
    ramp: tuple[Step, ...] = DEFAULT_RAMP
    alpha: float = 0.05
    guardrail_alpha: float = 0.05
    horizon_look: bool = True
    horizon: Horizon = Horizon()
    min_duration_s: float = DAY_S
    mode: Mode = Mode.ADVISE
    audit: Audit = Audit()
    breaker_failures: int | None = 5
    holdback: Holdback = Holdback()
    inconclusive_action: InconclusiveAction = InconclusiveAction.KEEP_PRIMARY
    grace_s: float = 600.0


def to_document(plan: Plan) -> dict[str, object]:
    """Write a plan as the JSON mapping that `plan_from` reads, every default spelled out."""
    breaker = plan.breaker_failures
    return {
        "task": str(plan.task),
        "goal": _goal_document(plan.goal),
        "guardrails": [_guardrail_document(guardrail) for guardrail in plan.guardrails],
        "labels": list(plan.labels),
        "unit": None if plan.unit is None else str(plan.unit),
        "canaries": list(plan.canaries),
        "slow_ms": plan.slow_ms,
        "ramp": [
            {
                "share": step.share_bp / BUCKETS,
                "min_units": step.min_units,
                "min_time_s": step.min_time_s,
            }
            for step in plan.ramp
        ],
        "alpha": plan.alpha,
        "guardrail_alpha": plan.guardrail_alpha,
        "horizon_look": plan.horizon_look,
        "horizon": {
            "max_duration_s": plan.horizon.max_duration_s,
            "max_labelled": plan.horizon.max_labelled,
        },
        "min_duration_s": plan.min_duration_s,
        "mode": str(plan.mode),
        "audit": {
            "rate": plan.audit.rate,
            "weighting": str(plan.audit.weighting),
            "floor": plan.audit.floor,
        },
        "breaker": None if breaker is None else {"consecutive_failures": breaker},
        "holdback": {
            "share": plan.holdback.share_bp / BUCKETS,
            "hours": plan.holdback.hours,
        },
        "inconclusive_action": str(plan.inconclusive_action),
        "grace_s": plan.grace_s,
    }


def plan_hash(plan: Plan) -> str:
    """Name a plan by its content: equal plans have equal hashes, however they were typed.

    Returns:
        `sha256:` and 64 hex digits, over the document's JSON with sorted keys.
    """
    text = json.dumps(to_document(plan), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _goal_document(goal: Goal) -> dict[str, object]:
    is_margin = goal.objective is Objective.NON_INFERIORITY
    return {
        "metric": goal.metric,
        "kind": str(goal.kind),
        "objective": str(goal.objective),
        ("margin" if is_margin else "mde"): goal.effect,
    }


def _guardrail_document(guardrail: Guardrail) -> dict[str, object]:
    limit = "margin" if guardrail.metric is Guard.COST else "max_ratio"
    return {"metric": str(guardrail.metric), limit: guardrail.limit}
