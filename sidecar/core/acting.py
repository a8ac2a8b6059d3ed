"""What do a person, the circuit breaker and the next look make of decisions?"""

from dataclasses import replace
from datetime import datetime

from sidecar.core.decision import CONTROLLER, Decision, may_act
from sidecar.core.errors import Invalid
from sidecar.core.plan import Plan
from sidecar.core.ramp import promoted_bp
from sidecar.core.readings import TERMINAL, Standing, State


def tripped(plan: Plan, consecutive_failures: int) -> Decision | None:
    """Decide whether the circuit breaker opens; it acts before any statistics.

    Args:
        consecutive_failures: Of the canary's calls, the latest in a row that failed.

    Returns:
        A hold with the canary's share at 0; None when the breaker stays closed.
    """
    limit = plan.breaker_failures
    if limit is None or consecutive_failures < limit:
        return None
    return Decision(
        State.HOLD,
        ("circuit_breaker",),
        set_canary_bp=0,
        text=f"The circuit breaker opened: the canary failed {consecutive_failures} times in "
        "a row. Its share should be 0 until a person has looked at it.",
        is_automatic=may_act(plan.mode, State.ROLLBACK),
    )


def after(standing: Standing, decision: Decision, *, at: datetime) -> Standing:
    """Return where the experiment stands once a decision is stored.

    A person's word replaces what was latched, and closes an open circuit breaker.
    """
    latest = max(at, standing.last_look_at or at)
    is_terminal = decision.state in TERMINAL
    if decision.actor != CONTROLLER:
        latched = decision.state if is_terminal else None
        return Standing(
            latched, at, latest, is_manual=not is_terminal, is_carried_out=is_terminal
        )
    seen = replace(
        standing,
        last_look_at=latest,
        is_broken=standing.is_broken or "circuit_breaker" in decision.reasons,
    )
    if decision.is_latched or not is_terminal:
        return seen
    return replace(
        seen, latched=decision.state, latched_at=at, is_carried_out=decision.is_automatic
    )


def by_hand(plan: Plan, state: State, *, actor: str, why: str) -> Decision:
    """Promote or roll back because a person says so.

    Guardrails stay armed: a promotion against a broken one is rolled back again, unless the
    mode is `advise`.

    Raises:
        Invalid: Another state is asked for, or the person gives no reason.
    """
    if state not in (State.PROMOTE, State.ROLLBACK):
        msg = f"{state!s} cannot be decided by hand; promote and rollback can"
        raise Invalid(msg)
    share = promoted_bp(plan) if state is State.PROMOTE else 0
    return Decision(
        state,
        ("by_hand",),
        set_canary_bp=share,
        text=f"{'Promoted' if state is State.PROMOTE else 'Rolled back'} by hand.",
        is_automatic=True,
        actor=actor,
        why=_given(why),
    )


def undone(canary_bp: int, *, actor: str, why: str) -> Decision:
    """Take back a decision, whoever took it.

    The evidence that led to it is still there and would decide the same again within
    seconds, so from now on the controller only watches, until the next epoch.

    Args:
        canary_bp: The canaries' share before the decision that is undone.

    Raises:
        Invalid: The person gives no reason.
    """
    return Decision(
        State.HOLD,
        ("undone_by_hand",),
        set_canary_bp=canary_bp,
        text="Undone by hand. From now on the controller only watches.",
        is_automatic=True,
        actor=actor,
        why=_given(why),
    )


def _given(why: str) -> str:
    if not why.strip():
        msg = "a decision by hand needs a reason, found none"
        raise Invalid(msg)
    return why.strip()
