"""What does an analysis say? The result document, as people and programs read it.

What is not known is None, never 0: no labels yet, a closed gate, an unbounded end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Ends = tuple[float | None, float | None]  # low and high; None where nothing bounds it


class Verdict(StrEnum):
    """What a metric says."""

    PASS = "pass"  # noqa: S105  the goal's bound is ruled out on the good side
    FAIL = "fail"  # on the bad side
    UNDECIDED = "undecided"
    INSUFFICIENT_DATA = "insufficient_data"
    INVALID = "invalid"
    OK = "ok"  # a guardrail that is not broken
    BREACH = "breach"
    NO_CHANGE_DETECTED = "no_change_detected"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class PerArm:
    """One number of each of the two arms; None where there is nothing to count."""

    primary: float | None
    canary: float | None


@dataclass(frozen=True, slots=True)
class Gate:
    """What a metric needs before an interval may be shown and acted on.

    Args:
        expected_minority: Of a boolean metric: how often the smaller arm is expected to
            show the rarer outcome. None for others.
        units: Of other metrics: units of the smaller arm. None for a boolean one.
        required: Of whichever is given.
    """

    expected_minority: float | None
    units: float | None
    required: float
    open: bool


@dataclass(frozen=True, slots=True)
class VarianceReduction:
    """What a proxy that is known for every call added to the labels.

    Args:
        coefficient: Lambda; 0 ignores the proxy.
        effective_label_multiplier: The labels are worth so many times as many.
    """

    proxy: str
    coefficient: float
    effective_label_multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalFinding:
    """The goal: canary minus primary, stage by stage.

    Args:
        arm: The canary.
        primary_unstratified, canary_unstratified: Means over all stages, for display.
        estimate, se: In the metric's unit; None while the gate is closed.
        interval: Valid at every look; None while the gate is closed.
        interval_kind: As `anytime_0.975`, the number being its coverage.
        horizon_interval: What the one look at the horizon may read; never act on it before.
        margin: What the interval must exclude: minus the plan's margin, or 0.
        p_anytime_vs_margin, p_anytime_vs_zero: Valid at every look; the first is against
            `margin`.
        labelled: Audited calls with a label.
        naive_pooled_difference: All stages thrown together, which a ramp may turn into
            Simpson's paradox: shown so that one sees when the two part.
    """

    name: str
    arm: str
    role: str = "goal"
    kind: str = "difference"
    method: str
    primary_unstratified: float | None
    canary_unstratified: float | None
    estimate: float | None
    se: float | None
    interval: Ends | None
    interval_kind: str
    horizon_interval: Ends | None
    margin: float
    tau: float
    p_anytime_vs_margin: float | None
    p_anytime_vs_zero: float | None
    gate: Gate
    labelled: PerArm
    variance_reduction: VarianceReduction | None
    naive_pooled_difference: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailFinding:
    """A guardrail: a ratio of rates, or of mean costs less 1, against its limit.

    Args:
        events: Units with such an event, or audited disagreements; for costs, USD a call.
        estimate: None when nothing can be compared.
        interval: Valid at every look; None when nothing can be compared.
        max_ratio: The limit of a ratio of rates; None of costs.
        margin: The limit of the relative increase of costs; None of rates.
        log_e: Evidence that the limit is exceeded; None while a gate is closed.
        is_exact: What is counted is what was assigned, so the error rate is no
            approximation.
    """

    name: str
    arm: str
    role: str = "guardrail"
    kind: str
    method: str
    events: PerArm
    estimate: float | None
    interval: Ends | None
    max_ratio: float | None = None
    margin: float | None = None
    slow_ms: float | None = None
    log_e: float | None
    threshold_log_e: float
    gate: Gate | None = None
    is_exact: bool
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class LabelRatio:
    """How many times as often the canary gives a label, with an interval for every look."""

    estimate: float | None
    interval: Ends


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShift:
    """Whether the canary answers differently. Different is not worse: nothing is decided."""

    name: str = "label_shift"
    arm: str
    role: str = "info"
    labels: Mapping[str, LabelRatio]
    log_e: float | None
    p_anytime: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StageSplit:
    """Units of one stage by arm, and their designed shares in [0, 1]."""

    stage: int
    shares: Mapping[str, float]
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SampleRatioFinding:
    """Whether units were split as designed; `status` is ok, warn or mismatch."""

    status: str
    log_e: float
    p_anytime: float
    threshold_log_e: float
    stages: tuple[StageSplit, ...]


@dataclass(frozen=True, slots=True)
class AuditReturn:
    """Of the drawn calls, the share that came back with a label, by arm.

    Args:
        log_e: Evidence that the arms' labels come back unequally often.
        is_valid: False when they certainly do: labelled calls are then a selected sample.
    """

    arm: str
    returned: PerArm
    log_e: float
    is_valid: bool


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether the numbers may be believed.

    Args:
        multi_arm_units: Units seen in more than one arm within a stage.
        multi_arm_share: Of all units; None without units.
    """

    srm: SampleRatioFinding
    multi_arm_units: int
    multi_arm_share: float | None
    audit_return: tuple[AuditReturn, ...]


@dataclass(frozen=True, slots=True)
class Planning:
    """What is still needed for the goal of one canary; None when it is not known.

    Args:
        mde: The plan's margin or MDE.
        labels_needed_80pct: Of both arms, to decide with probability 0.8 if the arms are
            equal (non-inferiority) or differ by the effect (superiority).
        labels_missing: Until the interval excludes the threshold, if the estimate stays;
            0 when it does.
        eta_s: Seconds until they are there at the present rate.
    """

    arm: str
    mde: float
    labels_needed_80pct: int | None
    labels_missing: int | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Method:
    """How error is spent: over all looks, and over all canaries together."""

    alpha: float
    alpha_sequential: float
    alpha_at_horizon: float
    guardrail_alpha_total: float
    false_promote_bound: float
    false_rollback_bound: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """All findings of one look at one epoch, every canary against the primary.

    Args:
        labelled: Audited calls with a label, all arms.
    """

    goals: tuple[GoalFinding, ...]
    guardrails: tuple[GuardrailFinding, ...]
    label_shift: tuple[LabelShift, ...]
    validity: Validity
    planning: tuple[Planning, ...]
    method: Method
    labelled: int
