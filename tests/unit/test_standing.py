"""Where an experiment stands, read off the decisions that are stored."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from sidecar.core.acting import after, by_hand, tripped, undone
from sidecar.core.decision import Decision, decide
from sidecar.core.readings import TERMINAL, Standing, State
from sidecar.core.standing import is_told, standing_of
from tests.looks import NOON, PLAN, guards, ready


@dataclass(frozen=True)
class Stored:
    """A decision as the table has it."""

    state: str
    reasons: tuple[str, ...]
    at: datetime = NOON
    action: dict[str, object] = field(default_factory=dict)


def stored(decision: Decision, at: datetime = NOON) -> Stored:
    return Stored(decision.state, decision.reasons, at, {"shares": {"primary": 1.0}})


PROMOTE = stored(by_hand(PLAN, State.PROMOTE, actor="ana", why="good"))
UNDONE = stored(undone(2_000, actor="ana", why="no"))
BREAK = stored(tripped(PLAN, 5) or pytest.fail("the breaker stayed closed"))


def standing(*decided: Stored, canary_bp: int = 5_000) -> Standing:
    """Give the standing after decisions, newest first."""
    return standing_of(decided, last_look_at=NOON, canary_bp=canary_bp)


def test_without_a_decision_nothing_is_latched() -> None:
    assert standing_of([], last_look_at=None, canary_bp=100) == Standing()


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_end_that_was_only_advised_stays_too(state: State) -> None:
    found = standing(Stored(State.HOLD, ("stale",)), Stored(state, ("goal",), NOON))
    assert (found.latched, found.latched_at, found.is_manual) == (state, NOON, False)


def test_an_end_that_was_carried_out_once_is_no_advice() -> None:
    advice = replace(PROMOTE, action={})
    assert not standing(advice).is_carried_out
    assert standing(advice, PROMOTE).is_carried_out


def test_the_breaker_is_open_until_a_person_gives_the_canary_traffic() -> None:
    assert standing(BREAK, canary_bp=0).is_broken
    assert not standing(BREAK, canary_bp=500).is_broken


def test_a_breaker_that_was_only_advised_to_open_is_closed() -> None:
    assert not standing(replace(BREAK, action={}), canary_bp=0).is_broken


def test_a_promoted_canary_that_broke_is_not_given_its_share_back() -> None:
    found = standing(BREAK, PROMOTE, canary_bp=0)
    decision = decide(PLAN, ready(canary_bp=0), found)
    assert (decision.state, decision.reasons) == (State.HOLD, ("circuit_breaker",))
    assert decision.set_canary_bp is None


def test_a_canary_promoted_after_it_broke_is_promoted() -> None:
    assert standing(PROMOTE, BREAK, canary_bp=9_800).latched is State.PROMOTE


def test_a_rollback_stays_though_the_breaker_opened() -> None:
    rolled_back = Stored(State.ROLLBACK, ("goal",))
    assert standing(BREAK, rolled_back, canary_bp=0).latched is State.ROLLBACK


def test_after_an_undo_the_controller_only_watches() -> None:
    decision = decide(PLAN, ready(guardrails=guards(9)), standing(UNDONE))
    assert (decision.state, decision.reasons) == (State.HOLD, ("manual",))


def test_a_promotion_by_hand_after_an_undo_ends_its_holdback() -> None:
    found = standing(PROMOTE, UNDONE, canary_bp=9_800)
    assert not found.is_manual
    later = NOON + timedelta(hours=PLAN.holdback.hours)
    decision = decide(PLAN, ready(at=later, canary_bp=9_800), found)
    assert (decision.state, decision.set_canary_bp) == (State.PROMOTE, 10_000)


@pytest.mark.parametrize("word", ["promote", "roll back", "undo"])
def test_a_persons_word_is_read_back_as_it_was_said(word: str) -> None:
    """What the table gives back is what the rule that made it says of the next look."""
    made = {
        "promote": by_hand(PLAN, State.PROMOTE, actor="ana", why="why"),
        "roll back": by_hand(PLAN, State.ROLLBACK, actor="ana", why="why"),
        "undo": undone(500, actor="ana", why="why"),
    }[word]
    before = stored(undone(500, actor="bo", why="why"))
    expected = after(standing(before), made, at=NOON)
    found = standing(stored(made), before)
    for name in ("latched", "is_manual", "is_carried_out"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize(
    ("newest", "told"),
    [
        pytest.param(Stored(State.HOLD, ("stale", "clock_set_back")), True, id="other order"),
        pytest.param(Stored(State.HOLD, ("stale",)), False, id="fewer reasons"),
        pytest.param(Stored(State.ADVANCE, ("stale", "clock_set_back")), False, id="other"),
        pytest.param(None, False, id="nothing"),
    ],
)
def test_what_the_newest_decision_says_is_not_said_again(
    newest: Stored | None, told: bool
) -> None:
    decided = [] if newest is None else [newest]
    assert is_told(decided, State.HOLD, ("clock_set_back", "stale")) == told
