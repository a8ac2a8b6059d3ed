"""What must be known at a look to decide? The readings, and where the experiment stands."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.core.stats.sequential import Interval


class State(StrEnum):
    """What a look concludes."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ADVANCE = "advance"  # take the next step of the ramp
    KEEP_COLLECTING = "keep_collecting"
    INCONCLUSIVE = "inconclusive"  # the horizon passed without a decision
    INVALID_SRM = "invalid_srm"  # units were not split as designed: no number can be trusted
    HOLD = "hold"  # nothing moves until a cause is gone


TERMINAL = frozenset({State.PROMOTE, State.ROLLBACK, State.INCONCLUSIVE, State.INVALID_SRM})


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalReading:
    """The goal at a look; differences are canary minus primary, in the metric's unit.

    Args:
        estimate: None until there is something to compare.
        interval: Valid at every look. None until the gate opens, and shown as such.
        at_horizon: What may be read at the one look at the horizon; None as `interval`.
        is_valid: False when labels come back unequally often by arm, so that the labelled
            calls are a selected sample.
        labels_missing: Of both arms, until a decision is likely; None when it is not known.
        eta_s: Seconds until they are there at the present rate; None when none is coming.
    """

    estimate: float | None = None
    interval: Interval | None = None
    at_horizon: Interval | None = None
    is_valid: bool = True
    labels_missing: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class GuardrailReading:
    """The evidence that one guardrail is broken, as a log e-value."""

    metric: str
    log_e: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was measured of one canary and the primary, at one look.

    Args:
        at: When the look is taken.
        goal: The metric that decides.
        guardrails: One for each of the plan.
        srm_log_e: Log e-value against "units were split as designed".
        multi_arm_share: Units seen in both arms within a stage, over all units, in [0, 1].
        labelled: Audited calls with a label, both arms.
        data_age_s: Seconds since the newest stored call of the experiment; None when there
            is no call yet. Negative when the clock was set back.
        run_s: Seconds that the epoch has run, pauses left out.
        step: Index of the ramp's step that the present share is, from 0; None when the
            share is none of the ramp's, because a person set it.
        step_run_s, step_units: Running time in the step, and units of the canary in it.
        canary_bp: Present share of all canaries together, in basis points.
    """

    at: datetime
    goal: GoalReading
    guardrails: tuple[GuardrailReading, ...]
    srm_log_e: float
    multi_arm_share: float
    labelled: int
    data_age_s: float | None
    run_s: float
    step: int | None
    step_run_s: float
    step_units: int
    canary_bp: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What one look hands to the next.

    Args:
        latched: The terminal state that was reached; None while it is open.
        latched_at: When it was, or when a person decided it again.
        last_look_at: When the epoch's newest stored look was taken, None before the first; a
            look that is earlier means a clock that was set back.
        is_broken: The circuit breaker opened, and no one has closed it.
        is_manual: A person undid a decision, so the controller only watches.
        is_carried_out: The latched state was; else it was only advised.
    """

    latched: State | None = None
    latched_at: datetime | None = None
    last_look_at: datetime | None = None
    is_broken: bool = False
    is_manual: bool = False
    is_carried_out: bool = False
