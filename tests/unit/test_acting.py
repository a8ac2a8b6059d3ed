"""What people, the circuit breaker and the next look make of decisions."""

from dataclasses import replace

import pytest

from sidecar.core.acting import after, by_hand, tripped, undone
from sidecar.core.decision import decide
from sidecar.core.errors import Invalid
from sidecar.core.plan import Mode
from sidecar.core.readings import Standing, State
from tests.looks import CLIMBING, NOON, PLAN, guards, ready


@pytest.mark.parametrize(
    ("mode", "promotes", "rolls_back", "advances", "breaks"),
    [
        (Mode.ADVISE, False, False, False, False),
        (Mode.AUTO_ROLLBACK, False, True, False, True),
        (Mode.AUTO, True, True, True, True),
    ],
)
def test_the_mode_says_what_may_be_done_without_a_person(
    mode: Mode, promotes: bool, rolls_back: bool, advances: bool, breaks: bool
) -> None:
    plan = replace(PLAN, mode=mode)
    broken = tripped(plan, 5)

    assert decide(plan, ready(), Standing()).is_automatic == promotes
    assert decide(plan, ready(guardrails=guards(5)), Standing()).is_automatic == rolls_back
    assert decide(plan, CLIMBING, Standing()).is_automatic == advances
    assert broken is not None
    assert broken.is_automatic == breaks


def test_the_breaker_opens_at_its_count_and_not_before() -> None:
    assert tripped(PLAN, 4) is None
    assert tripped(replace(PLAN, breaker_failures=None), 10**6) is None
    opened = tripped(PLAN, 5)

    assert opened is not None
    assert (opened.state, opened.set_canary_bp) == (State.HOLD, 0)
    assert "failed 5 times in a row" in opened.text
    standing = after(Standing(), opened, at=NOON)
    assert standing.is_broken
    assert decide(PLAN, ready(canary_bp=0), standing).reasons == ("circuit_breaker",)


def test_a_person_decides_with_a_name_and_a_reason() -> None:
    decision = by_hand(PLAN, State.ROLLBACK, actor="ana", why=" too slow ")

    assert (decision.actor, decision.why, decision.set_canary_bp) == ("ana", "too slow", 0)
    with pytest.raises(Invalid, match="needs a reason"):
        by_hand(PLAN, State.PROMOTE, actor="ana", why=" ")
    with pytest.raises(Invalid, match="advance cannot be decided by hand"):
        by_hand(PLAN, State.ADVANCE, actor="ana", why="faster")


def test_an_undone_decision_is_not_taken_again_by_the_same_evidence() -> None:
    harmful = ready(guardrails=guards(5))
    first = decide(PLAN, harmful, Standing())
    standing = after(Standing(), first, at=NOON)
    back = undone(5_000, actor="ana", why="the provider was down")
    standing = after(standing, back, at=NOON)

    assert back.set_canary_bp == 5_000
    assert decide(PLAN, harmful, standing).state is State.HOLD
    again = after(standing, by_hand(PLAN, State.PROMOTE, actor="ana", why="fixed"), at=NOON)
    assert decide(PLAN, ready(canary_bp=9_800), again).state is State.PROMOTE
