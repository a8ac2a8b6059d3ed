"""What should happen to the canary now? One rule, from readings to a decision.

The order of the rules is the order of harm: evidence of harm acts first and is never held
up, doubt about the data stops everything that could do harm, and only then may something
move forward. A terminal state stays, with one way out of it: a guardrail that breaks while
the canary and the primary both still serve rolls back, whatever was concluded before.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from sidecar.core.assignment import BUCKETS
from sidecar.core.plan import InconclusiveAction, Mode, Objective, Plan
from sidecar.core.ramp import is_step_done, next_share_bp, promoted_bp
from sidecar.core.readings import Readings, Standing, State
from sidecar.core.stats.sequential import Interval
from sidecar.core.stats.srm import SRM_LOG_E
from sidecar.core.wording import sentence

MULTI_ARM_LIMIT = 0.01  # beyond one unit in a hundred, arms are no longer separate groups
CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a look, or a person, concludes.

    Args:
        set_canary_bp: The share of all canaries together that should follow, in basis
            points; None to leave the shares alone. A new end names it even where it is the
            present one, for an end is more than a share.
        reasons: Machine-readable, the decisive one first.
        text: The same for people, in a sentence or two.
        is_latched: The state was reached in an earlier look and stays.
        is_automatic: The plan's mode lets the controller carry it out by itself.
        actor: Who decided.
        why: In that person's words; None for the controller.
    """

    state: State
    reasons: tuple[str, ...]
    set_canary_bp: int | None = None
    text: str = ""
    is_latched: bool = False
    is_automatic: bool = False
    actor: str = CONTROLLER
    why: str | None = None

    @property
    def action(self) -> str:
        """The share to set, as `set_share:0.05`, or `none`."""
        if self.set_canary_bp is None:
            return "none"
        return f"set_share:{self.set_canary_bp / BUCKETS}"


@dataclass(frozen=True, slots=True)
class _Look:
    plan: Plan
    readings: Readings
    standing: Standing


def decide(plan: Plan, readings: Readings, standing: Standing) -> Decision:
    """Conclude from one look. Total: every reading gives exactly one decision.

    Source:
        `docs/statistics.md`. A stage whose minimum is met only in the look that reaches the
        horizon is not entered, for nothing would be seen of it.
    """
    if standing.is_broken and standing.latched is State.PROMOTE:
        # A promotion gives the canary its share again and again: not to one that broke.
        standing = replace(standing, latched=None)
    look = _Look(plan, readings, standing)
    found = next(filter(None, (rule(look) for rule in _RULES)), None)
    decision = found or Decision(State.KEEP_COLLECTING, _missing(look))
    is_automatic = decision.is_automatic or may_act(plan.mode, decision.state)
    return replace(
        decision,
        is_automatic=is_automatic and decision.set_canary_bp is not None,
        text=sentence(plan, readings, decision.state, decision.reasons),
    )


def may_act(mode: Mode, state: State) -> bool:
    """Tell whether the controller may carry out such a decision by itself."""
    if mode is Mode.AUTO_ROLLBACK:
        return state is State.ROLLBACK
    return mode is Mode.AUTO


def guardrail_threshold(plan: Plan) -> float:
    """Log e-value from which a guardrail counts as broken.

    A union bound over guardrails and canaries: the chance that any false one ever rolls
    back is at most `guardrail_alpha`.
    """
    tests = max(len(plan.guardrails), 1) * len(plan.canaries)
    return math.log(tests / plan.guardrail_alpha)


def broken(plan: Plan, readings: Readings) -> tuple[str, ...]:
    """Name the guardrails that are broken."""
    limit = guardrail_threshold(plan)
    return tuple(g.metric for g in readings.guardrails if g.log_e >= limit)


def is_stale(plan: Plan, readings: Readings) -> bool:
    """Tell whether data are too old to move forward on."""
    # Before the first call, the time since the start stands for the age of the data.
    age = readings.run_s if readings.data_age_s is None else readings.data_age_s
    return age > plan.grace_s


def is_at_horizon(plan: Plan, readings: Readings) -> bool:
    """Tell whether the declared end is reached."""
    duration, labelled = plan.horizon.max_duration_s, plan.horizon.max_labelled
    is_over = duration is not None and readings.run_s >= duration
    return is_over or (labelled is not None and readings.labelled >= labelled)


def _manual(look: _Look) -> Decision | None:
    return Decision(State.HOLD, ("manual",)) if look.standing.is_manual else None


def _rolled_back(look: _Look) -> Decision | None:
    if look.standing.latched is not State.ROLLBACK:
        return None
    return Decision(State.ROLLBACK, ("latched",), _unless(look, 0), is_latched=True)


def _guardrail(look: _Look) -> Decision | None:
    harmed = broken(look.plan, look.readings)
    both_serve = 0 < look.readings.canary_bp < BUCKETS
    if not harmed or (look.standing.latched is not None and not both_serve):
        return None
    doubts = ("invalid_srm",) if look.readings.srm_log_e >= SRM_LOG_E else ()
    reasons = (*(f"guardrail:{metric}" for metric in harmed), *doubts)
    return Decision(State.ROLLBACK, reasons, set_canary_bp=0)


def _promoted(look: _Look) -> Decision | None:
    """Keep a promotion, and end its hold-back when its time is over."""
    standing, readings = look.standing, look.readings
    if standing.latched is not State.PROMOTE:
        return None
    decision = Decision(State.PROMOTE, ("latched",), is_latched=True)
    if readings.canary_bp == BUCKETS:
        return decision
    target = promoted_bp(look.plan)
    if readings.canary_bp != target:
        return replace(decision, set_canary_bp=target)
    if not standing.is_carried_out:  # advice has no second half
        return decision
    since = standing.latched_at or readings.at
    if readings.at - since < timedelta(hours=look.plan.holdback.hours):
        return replace(decision, reasons=("latched", "holdback"))
    # It was promoted already, by whom ever: this is the second half of that.
    reasons = ("latched", "holdback_over")
    return replace(decision, reasons=reasons, set_canary_bp=BUCKETS, is_automatic=True)


def _ended(look: _Look) -> Decision | None:
    if look.standing.latched is State.INVALID_SRM:
        return Decision(State.INVALID_SRM, ("latched",), is_latched=True)
    if look.standing.latched is State.INCONCLUSIVE:
        share = _inconclusive(look).set_canary_bp
        target = None if share is None else _unless(look, share)
        return Decision(State.INCONCLUSIVE, ("latched",), target, is_latched=True)
    return None


def _sample_ratio(look: _Look) -> Decision | None:
    if look.readings.srm_log_e < SRM_LOG_E:
        return None
    return Decision(State.INVALID_SRM, ("invalid_srm",))


def _goal_failed(look: _Look) -> Decision | None:
    interval = _trusted(look, look.readings.goal.interval)
    if interval is None or interval.high >= look.plan.goal.threshold:
        return None
    return Decision(State.ROLLBACK, ("goal",), set_canary_bp=0)


def _doubt(look: _Look) -> Decision | None:
    readings, last = look.readings, look.standing.last_look_at
    is_back = last is not None and readings.at < last
    causes = {
        "circuit_breaker": look.standing.is_broken,
        "clock_set_back": is_back or (readings.data_age_s or 0.0) < 0,
        "stale": is_stale(look.plan, readings),
        "units_in_both_arms": readings.multi_arm_share > MULTI_ARM_LIMIT,
    }
    found = tuple(cause for cause, is_so in causes.items() if is_so)
    return Decision(State.HOLD, found) if found else None


def _advance(look: _Look) -> Decision | None:
    step = look.readings.step
    if step is None or not _is_step_done(look) or is_at_horizon(look.plan, look.readings):
        return None
    share = next_share_bp(look.plan, step)
    if share is None:
        return None
    return Decision(State.ADVANCE, ("min_time_met", "min_units_met"), set_canary_bp=share)


def _goal_met(look: _Look) -> Decision | None:
    return _promotion(look, look.readings.goal.interval)


def _horizon(look: _Look) -> Decision | None:
    """Take the one fixed-sample look at the declared end; after it, all is decided."""
    if not is_at_horizon(look.plan, look.readings):
        return None
    interval = look.readings.goal.at_horizon
    trusted = _trusted(look, interval)
    if trusted is not None and trusted.high < look.plan.goal.threshold:
        return Decision(State.ROLLBACK, ("goal", "horizon"), set_canary_bp=0)
    promotion = _promotion(look, interval)
    if promotion is not None:
        return replace(promotion, reasons=(*promotion.reasons, "horizon"))
    return _inconclusive(look)


_RULES: tuple[Callable[[_Look], Decision | None], ...] = (
    _manual,
    _rolled_back,
    _guardrail,
    _promoted,
    _ended,
    _sample_ratio,
    _goal_failed,
    _doubt,
    _advance,
    _goal_met,
    _horizon,
)


def _promotion(look: _Look, interval: Interval | None) -> Decision | None:
    trusted = _trusted(look, interval)
    if trusted is None or trusted.low <= look.plan.goal.threshold or _not_yet(look):
        return None
    is_margin = look.plan.goal.objective is Objective.NON_INFERIORITY
    shown = "goal_non_inferior" if is_margin else "goal_superior"
    reasons = (shown, "no_guardrail_breach", "srm_ok", "min_duration_met")
    return Decision(State.PROMOTE, reasons, set_canary_bp=promoted_bp(look.plan))


def _inconclusive(look: _Look) -> Decision:
    keeps = look.plan.inconclusive_action is InconclusiveAction.KEEP_PRIMARY
    reasons = ("horizon", *_missing(look))
    return Decision(State.INCONCLUSIVE, reasons, set_canary_bp=0 if keeps else None)


def _missing(look: _Look) -> tuple[str, ...]:
    """Name what a decision still lacks."""
    goal = look.readings.goal
    if not goal.is_valid:
        doubt: tuple[str, ...] = ("unequal_label_return",)
    elif goal.interval is None:
        doubt = ("insufficient_data",)
    else:
        is_clear = goal.interval.low > look.plan.goal.threshold
        doubt = () if is_clear else ("goal_undecided",)
    return (*doubt, *_not_yet(look))


def _not_yet(look: _Look) -> tuple[str, ...]:
    """Name the minimums that a promotion waits for."""
    step = look.readings.step
    is_last = step is not None and next_share_bp(look.plan, step) is None
    waits = {
        "off_ramp": step is None,
        "ramp_incomplete": step is not None and not (is_last and _is_step_done(look)),
        "min_duration": look.readings.run_s < look.plan.min_duration_s,
    }
    return tuple(reason for reason, is_so in waits.items() if is_so)


def _is_step_done(look: _Look) -> bool:
    readings = look.readings
    return readings.step is not None and is_step_done(
        look.plan, readings.step, run_s=readings.step_run_s, units=readings.step_units
    )


def _trusted(look: _Look, interval: Interval | None) -> Interval | None:
    return interval if look.readings.goal.is_valid else None


def _unless(look: _Look, share_bp: int) -> int | None:
    """Set a share unless it is set already: a decision is carried out once."""
    return None if look.readings.canary_bp == share_bp else share_bp
