"""What an ended experiment leaves in force, and until when."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.core.assignment import PRIMARY
from sidecar.core.errors import IllegalMove
from sidecar.core.experiments import (
    Experiment,
    Hold,
    Outcome,
    Status,
    conclude,
    reopen,
)
from sidecar.core.holding import FORMER, hold_for
from sidecar.core.publishing import Draft, draft_table
from sidecar.core.routing import Unit, UnitSource, decide, eligible
from tests.configurations import NOON, catalogue, experiment, judge, sources

ALL = frozenset({"judge-a", "judge-b"})


def ended(outcome: Outcome, arm: str, after_s: int = 60) -> Experiment:
    running = replace(experiment(), epoch=1, stage=2)
    hold = hold_for(catalogue(judge()), running, arm)
    return conclude(running, outcome, hold, now=NOON + timedelta(seconds=after_s))


def draft(values: dict[str, object], *experiments: Experiment) -> Draft:
    return draft_table(sources(catalogue(values), *experiments), now=NOON)


@pytest.mark.parametrize(
    ("outcome", "arm", "serves"),
    [
        (Outcome.PROMOTED, "canary", "judge-b"),
        (Outcome.ROLLED_BACK, PRIMARY, "judge-a"),
        (Outcome.INCONCLUSIVE, PRIMARY, "judge-a"),
    ],
)
def test_an_answer_holds_and_everything_goes_to_the_arm_that_is_kept(
    outcome: Outcome, arm: str, serves: str
) -> None:
    group = draft(judge(), ended(outcome, arm)).table.groups["judge"]
    assert group.held_by == experiment().id
    assert group.experiment_id is None
    for number in range(50):
        assigned = decide(group, Unit(f"u-{number}", UnitSource.HEADER))
        assert assigned.arm == PRIMARY
        assert eligible(group, assigned.arm, healthy=ALL, tried=()) == {serves}
        # Not even when all it has is down.
        assert eligible(group, assigned.arm, healthy=ALL - {serves}, tried={serves}) == set()


def test_a_promoted_canary_takes_the_primarys_place() -> None:
    group = draft(judge(), ended(Outcome.PROMOTED, "canary")).table.groups["judge"]
    assert [arm.name for arm in group.arms] == [PRIMARY, FORMER]


def test_while_an_answer_holds_the_weights_of_the_yaml_make_no_experiment() -> None:
    found = draft(judge(), ended(Outcome.ROLLED_BACK, PRIMARY))
    assert found.steps == ()


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(judge(70, 30), id="weights"),
        pytest.param({"model_list": judge()["model_list"][:1]}, id="an arm gone"),
    ],
)
def test_an_edit_of_the_group_is_the_last_intent_and_wins(edited: dict[str, object]) -> None:
    found = draft(edited, ended(Outcome.PROMOTED, "canary"))
    assert found.table.groups["judge"].held_by is None
    released = found.steps[0]
    assert released.action == "handed_back"
    assert released.after.hold is None
    assert released.after.outcome is Outcome.PROMOTED


def test_an_edit_of_another_group_changes_nothing() -> None:
    values = judge()
    values["model_list"][3]["litellm_params"]["weight"] = 7
    assert draft(values, ended(Outcome.PROMOTED, "canary")).table.groups["judge"].held_by


def test_a_running_experiment_goes_before_a_hold_which_then_comes_back() -> None:
    held = ended(Outcome.PROMOTED, "canary")
    running = replace(experiment(), id="exp-2", salt="exp-2", created_at=NOON)
    group = draft(judge(), held, running).table.groups["judge"]
    assert (group.experiment_id, group.held_by) == ("exp-2", None)
    stopped = replace(running, status=Status.COMPLETED, outcome=Outcome.STOPPED)
    assert draft(judge(), held, stopped).table.groups["judge"].held_by == held.id


def test_of_two_holds_the_later_one_counts_and_the_other_is_released() -> None:
    first = ended(Outcome.PROMOTED, "canary")
    second = replace(ended(Outcome.ROLLED_BACK, PRIMARY, 120), id="exp-2")
    found = draft(judge(), first, second)
    assert found.table.groups["judge"].held_by == "exp-2"
    assert [step.after.id for step in found.steps] == [first.id]


def test_only_what_runs_can_be_concluded() -> None:
    hold = Hold(PRIMARY, "")
    with pytest.raises(IllegalMove, match="is draft"):
        conclude(replace(experiment(), status=Status.DRAFT), Outcome.PROMOTED, hold, now=NOON)
    once = conclude(experiment(), Outcome.PROMOTED, hold, now=NOON)
    with pytest.raises(IllegalMove, match="is completed"):
        conclude(once, Outcome.ROLLED_BACK, hold, now=NOON)


def test_an_overruled_end_opens_a_new_stage_with_the_shares_of_before() -> None:
    shares = {PRIMARY: 7500, "canary": 2500}
    again = reopen(ended(Outcome.PROMOTED, "canary"), shares)
    assert (again.status, again.outcome, again.hold) == (Status.ACTIVE, None, None)
    assert (again.epoch, again.stage, again.share_bp) == (1, 3, shares)


@pytest.mark.parametrize("status", [Status.DRAFT, Status.COMPLETED])
def test_what_holds_nothing_cannot_be_reopened(status: Status) -> None:
    with pytest.raises(IllegalMove, match="create a new one"):
        reopen(replace(experiment(), status=status, outcome=None), {})
