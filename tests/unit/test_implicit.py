"""How the experiments that weights alone make keep up with the YAML."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.experiments import Experiment, Outcome, Status
from sidecar.core.implicit import Step, follow_yaml, waiting_shares
from sidecar.core.model_list import compile_groups, read_model_list
from tests.configurations import NOON, config, entry, judge

SINGLE = config(entry("judge", "judge-a", task="judge"))


def follow(
    values: dict[str, Any], found: Experiment | None = None, *, owned: bool = False
) -> list[Step]:
    groups = compile_groups(read_model_list(values))
    known = {} if found is None else {"judge": found}
    return follow_yaml(groups, known, owned={"judge"} if owned else (), swapped=(), now=NOON)


@pytest.fixture
def running() -> Experiment:
    (step,) = follow(judge())
    return step.after


def test_a_group_with_two_arms_is_an_experiment(running: Experiment) -> None:
    assert (running.id, running.salt, running.owner) == ("yaml-judge", "yaml-judge", "yaml")
    assert (running.status, running.epoch, running.stage) == ("active", 1, 1)
    assert dict(running.share_bp) == {"primary": 8000, "canary": 2000}
    assert dict(running.arms) == {"primary": ("judge-a",), "canary": ("judge-b",)}


def test_a_group_with_one_arm_is_none() -> None:
    assert follow(SINGLE) == []


def test_nothing_happens_while_the_yaml_says_the_same(running: Experiment) -> None:
    assert follow(judge(), running) == []
    assert follow(judge(8, 2), running) == [], "the same shares by other weights"
    values = judge()
    values["model_list"].reverse()
    assert follow(values, running) == [], "another order"


def test_other_weights_open_a_stage(running: Experiment) -> None:
    (step,) = follow(judge(50, 50), running)
    assert (step.action, step.after.epoch, step.after.stage) == ("stage_opened", 1, 2)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            config(*judge()["model_list"], entry("judge", "judge-c", arm="c", task="judge")),
            id="one more arm",
        ),
        pytest.param(
            config(
                judge()["model_list"][0],
                entry("judge", "judge-c", weight=20, arm="canary", task="judge"),
            ),
            id="another deployment in an arm",
        ),
    ],
)
def test_other_arms_open_an_epoch(values: dict[str, Any], running: Experiment) -> None:
    (step,) = follow(values, replace(running, stage=4))
    assert (step.action, step.after.epoch, step.after.stage) == ("epoch_opened", 2, 1)


def test_back_to_one_arm_ends_it_and_it_can_come_back(running: Experiment) -> None:
    (ended,) = follow(SINGLE, running)
    assert (ended.after.status, ended.after.outcome) == (Status.COMPLETED, Outcome.STOPPED)
    assert ended.after.ended_at == NOON
    assert follow(SINGLE, ended.after) == []
    (again,) = follow(judge(), ended.after)
    assert (again.after.status, again.after.outcome) == (Status.ACTIVE, None)
    assert (again.after.epoch, again.after.stage, again.after.ended_at) == (2, 1, None)


def test_a_group_that_vanishes_ends_it(running: Experiment) -> None:
    (ended,) = follow(config(entry("other", "o")), running)
    assert ended.after.status is Status.COMPLETED


def test_it_steps_aside_for_an_explicit_one_and_comes_back_in_a_new_stage(
    running: Experiment,
) -> None:
    (aside,) = follow(judge(), running, owned=True)
    assert (aside.action, aside.after.status) == ("paused", Status.PAUSED)
    assert follow(judge(30, 70), aside.after, owned=True) == [], "edits wait"
    (back,) = follow(judge(30, 70), aside.after)
    assert (back.after.status, back.after.stage) == (Status.ACTIVE, 2)
    assert dict(back.after.share_bp) == {"primary": 3000, "canary": 7000}


def test_while_owned_nothing_begins_and_nothing_ends(running: Experiment) -> None:
    assert follow(judge(), None, owned=True) == []
    aside = replace(running, status=Status.PAUSED)
    assert follow(SINGLE, aside, owned=True) == []


@pytest.mark.parametrize(
    ("values", "waits"),
    [
        pytest.param(judge(), None, id="as it was"),
        pytest.param(judge(1, 1), {"primary": 5000, "canary": 5000}, id="other shares"),
        pytest.param(SINGLE, {"primary": 10_000}, id="a single arm"),
        pytest.param(config(entry("other", "o")), None, id="the group is gone"),
    ],
)
def test_an_edit_that_waits_is_seen(
    values: dict[str, Any], waits: dict[str, int] | None, running: Experiment
) -> None:
    groups = compile_groups(read_model_list(values))
    aside = replace(running, status=Status.PAUSED)
    found = waiting_shares(groups, {"judge": aside}, owned={"judge"})
    assert found == ({} if waits is None else {"judge": waits})


def test_a_canary_added_to_an_owned_group_waits_too() -> None:
    groups = compile_groups(read_model_list(judge()))
    assert "judge" in waiting_shares(groups, {}, owned={"judge"})
    alone = compile_groups(read_model_list(SINGLE))
    assert waiting_shares(alone, {}, owned={"judge"}) == {}
