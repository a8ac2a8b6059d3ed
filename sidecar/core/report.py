"""What is answered to "what has this experiment shown?" All of it, in one document."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sidecar.core.findings import (
    AuditReturn,
    GoalFinding,
    GuardrailFinding,
    LabelShift,
    Method,
    Planning,
    SampleRatioFinding,
)
from sidecar.core.latency import LatencyFinding
from sidecar.core.quality import ArmQuality
from sidecar.core.readings import State
from sidecar.core.results import ArmResult, Reconciliation, StageResult

Metric = GoalFinding | GuardrailFinding | LabelShift | LatencyFinding | ArmQuality


@dataclass(frozen=True, slots=True)
class StageNow:
    """Where on its ramp an experiment is.

    Args:
        index: Step of the ramp, from 1; None when the share is none of the ramp's.
        of: Steps of the ramp.
        canary_share: Present share of all canaries, in [0, 1].
        min_time_met, min_units_met: None off the ramp.
    """

    stage: int
    index: int | None
    of: int
    canary_share: float
    entered_at: datetime | None
    min_time_met: bool | None
    min_units_met: bool | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What this look concludes for one canary.

    Args:
        action: `set_share:0.05`, or `none`.
        latched: It was reached in an earlier look, and stays.
        decided_at: When it was noted first; None when it was not yet.
        automatic: The controller carries it out by itself.
        text: For people, in a sentence or two.
    """

    arm: str
    state: State
    action: str
    latched: bool
    automatic: bool
    decided_at: datetime | None
    reasons: Sequence[str]
    text: str
    false_promote_bound: float
    false_rollback_bound: float


@dataclass(frozen=True, slots=True)
class ValidityReport:
    """Whether the numbers may be believed.

    Args:
        multi_arm_units: Units seen in more than one arm within a stage.
        multi_arm_share: Of all units; None without units.
        stale: No new call was stored for longer than the plan's grace.
    """

    srm: SampleRatioFinding
    multi_arm_units: int
    multi_arm_share: float | None
    audit_return: Sequence[AuditReturn]
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What is inferred, by the epoch's plan; all None for an epoch from before plans.

    Args:
        look: Number of this look.
        decision: For the first canary; `decisions` has one for each.
    """

    mode: str | None = None
    goal_type: str | None = None
    look: int | None = None
    plan_hash: str | None = None
    stage: StageNow | None = None
    decision: Conclusion | None = None
    decisions: Sequence[Conclusion] = ()
    validity: ValidityReport | None = None
    metrics: Sequence[Metric] = ()
    planning: Sequence[Planning] = ()
    method: Method | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(Inference):
    """What an experiment has shown so far.

    Args:
        name: Its hypothesis, where there is one.
        epoch: The one that is described.
        arms: Over all stages of the epoch, `primary` first.
        generation: Of the routing table published last; None when none was.
    """

    experiment_id: str
    name: str | None
    group: str
    status: str
    outcome: str | None
    held_arm: str | None
    as_of: datetime
    epoch: int
    arms: Sequence[ArmResult]
    stages: Sequence[StageResult]
    reconciliation: Reconciliation
    generation: int | None
