"""From the YAML, the registry, experiments and keys to the table that is published."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.errors import Invalid
from sidecar.core.experiments import Experiment, Status
from sidecar.core.publishing import Draft, Sources, check_experiment, draft_table
from sidecar.core.routing import Caller, Owner
from sidecar.handoff.routes import content_hash
from tests.configurations import (
    FINE_TUNED,
    NOON,
    catalogue,
    config,
    entry,
    experiment,
    judge,
    sources,
    version,
)


def draft(values: dict[str, Any], *experiments: Experiment, **more: Any) -> Draft:
    return draft_table(sources(catalogue(values), *experiments, **more), now=NOON)


def arms_of(found: Draft, group: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    arms = found.table.groups[group].arms
    return {arm.name: (arm.share_bp, arm.deployments) for arm in arms}


def test_the_same_sources_give_the_same_hash() -> None:
    first, second = draft(judge()), draft(judge())
    assert content_hash(first.table) == content_hash(second.table)
    assert content_hash(first.table) != content_hash(draft(judge(70, 30)).table)


def test_every_deployment_with_an_id_is_published_as_it_stands() -> None:
    found = draft(judge()).table.entries
    assert sorted(found) == ["draft-a", "judge-a", "judge-b", "spare-a"]
    assert found["judge-a"]["litellm_params"] == {
        "model": "openai/gpt-4.1-mini",
        "api_key": "os.environ/OPENAI_API_KEY",
        "weight": 80,
    }


def test_a_deployment_without_an_id_is_routed_but_not_published() -> None:
    found = draft(config(entry("plain", None)))
    assert found.table.groups["plain"].arms[0].share_bp == 10_000
    assert found.table.entries == {}


def test_a_literal_key_stays_out_of_what_is_published_and_is_warned_of() -> None:
    values = judge()
    values["model_list"][0]["litellm_params"]["api_key"] = "sk-very-secret"
    found = draft(values)
    assert "judge-a" not in found.table.entries
    assert arms_of(found, "judge")["primary"] == (8000, ("judge-a",))
    assert found.warnings == (
        "deployment 'judge-a' has a literal key: it is not hot-reloaded; use os.environ/NAME",
    )
    assert "sk-very-secret" not in str(found)


@pytest.mark.parametrize(
    ("given", "published"),
    [
        pytest.param({}, "ft:gpt-4o-mini-2024-07-18", id="LiteLLM would call it free"),
        pytest.param({"base_model": "gpt-4.1"}, "gpt-4.1", id="the YAML says"),
        pytest.param({"input_cost_per_token": 1e-6}, None, id="the YAML has prices"),
    ],
)
def test_a_fine_tuned_deployment_is_told_its_base(
    given: dict[str, Any], published: str | None
) -> None:
    values = config(entry("judge", "a", model=f"openai/{FINE_TUNED}", **given))
    info = draft(values).table.entries["a"]["model_info"]
    assert isinstance(info, dict)
    assert info.get("base_model") == published


def test_the_yamls_fine_tuned_models_answer_to_their_own_ids() -> None:
    found = draft(config(entry("judge", "a", model=f"openai/{FINE_TUNED}", weight=3)))
    assert arms_of(found, FINE_TUNED) == {"primary": (10_000, (f"{FINE_TUNED}/a",))}
    assert found.table.entries[f"{FINE_TUNED}/a"]["model_name"] == FINE_TUNED


def test_a_weight_of_0_gets_nothing_by_its_own_id_either() -> None:
    values = config(
        entry("judge", "a", weight=1),
        entry("judge", "b", model=f"openai/{FINE_TUNED}", weight=0, arm="canary"),
    )
    assert FINE_TUNED not in draft(values).table.groups


def test_an_active_version_makes_a_group_of_its_name() -> None:
    found = draft_table(sources(catalogue(judge(), version(is_active=True))), now=NOON)
    assert arms_of(found, "ft:triage") == {"primary": (10_000, ("ft:triage@v1",))}
    assert arms_of(found, FINE_TUNED) == {"primary": (10_000, (FINE_TUNED,))}
    assert found.table.entries["ft:triage@v1"]["model_info"] == {
        "id": "ft:triage@v1",
        "task": "judge",
        "base_model": "ft:gpt-4o-mini-2024-07-18",
    }


def test_the_yaml_wins_a_clash_with_the_registry() -> None:
    values = config(entry("ft:triage", "mine"))
    found = draft_table(sources(catalogue(values, version(is_active=True))), now=NOON)
    assert arms_of(found, "ft:triage") == {"primary": (10_000, ("mine",))}
    assert "'ft:triage@v1' is not served" in found.warnings[0]


def test_an_explicit_experiment_sets_the_shares_and_the_yaml_waits() -> None:
    implicit = draft(judge()).steps[0].after
    running = experiment(share_bp={"primary": 9000, "canary": 1000})
    same = draft(judge(), implicit, running)
    assert arms_of(same, "judge") == {
        "primary": (9000, ("judge-a",)),
        "canary": (1000, ("judge-b",)),
    }
    assert same.table.groups["judge"].owner is Owner.EXPERIMENT
    assert [(s.action, s.after.id) for s in same.steps] == [("paused", "yaml-judge")]
    assert same.waiting == {}
    edited = draft(judge(60, 40), replace(implicit, status=Status.PAUSED), running)
    assert arms_of(edited, "judge") == arms_of(same, "judge")
    assert edited.waiting == {"judge": {"primary": 6000, "canary": 4000}}
    assert edited.steps == ()


def test_an_arm_of_another_group_is_served_by_a_copy() -> None:
    arms = {"primary": ("judge-a",), "canary": ("spare-a",)}
    found = draft(judge(), experiment(arms=arms))
    copy = "judge/canary/spare-a"
    assert arms_of(found, "judge")["canary"] == (5000, (copy,))
    published = found.table.entries[copy]
    assert published["model_name"] == "judge"
    assert published["model_info"] == {"id": copy, "arm": "canary"}
    assert found.table.entries["spare-a"]["model_name"] == "spare"
    assert found.table.groups["judge"].task == "judge"


def test_a_deployment_the_experiment_leaves_out_gets_none_of_its_groups_calls() -> None:
    arms = {"primary": ("judge-a",), "canary": ("draft-a",)}
    found = draft(judge(), experiment(arms=arms))
    used = {d for _, ids in arms_of(found, "judge").values() for d in ids}
    assert "judge-b" not in used
    assert "judge-b" in found.table.entries, "it must be there when the experiment ends"


def test_the_experiments_name_for_an_arm_wins_over_the_yamls() -> None:
    swapped = {"primary": ("judge-b",), "canary": ("judge-a",)}
    found = draft(judge(), experiment(arms=swapped))
    assert arms_of(found, "judge") == {
        "primary": (5000, ("judge-b",)),
        "canary": (5000, ("judge-a",)),
    }


def test_a_direct_ft_id_can_be_an_experiments_primary() -> None:
    arms = {"primary": (FINE_TUNED,), "canary": ("judge-b",)}
    running = experiment(FINE_TUNED, arms=arms)
    found = draft_table(sources(catalogue(judge(), version()), running), now=NOON)
    assert arms_of(found, FINE_TUNED) == {
        "primary": (5000, (FINE_TUNED,)),
        "canary": (5000, (f"{FINE_TUNED}/canary/judge-b",)),
    }


def test_a_version_that_is_not_active_can_be_an_arm() -> None:
    first, second = version(is_active=True), version(number=2)
    arms = {"primary": ("ft:triage@v1",), "canary": ("ft:triage@v2",)}
    running = experiment("ft:triage", arms=arms)
    found = draft_table(sources(catalogue(judge(), first, second), running), now=NOON)
    assert arms_of(found, "ft:triage")["canary"] == (5000, ("ft:triage@v2",))


def test_another_version_that_becomes_active_waits_for_the_experiment() -> None:
    first, second = version(), version(number=2, is_active=True)
    arms = {"primary": ("ft:triage@v1",), "canary": ("judge-b",)}
    running = experiment("ft:triage", arms=arms)
    found = draft_table(sources(catalogue(judge(), first, second), running), now=NOON)
    assert arms_of(found, "ft:triage")["primary"] == (5000, ("ft:triage@v1",))


def test_a_yaml_that_lacks_what_a_running_experiment_uses_is_refused() -> None:
    values = judge()
    del values["model_list"][1]
    with pytest.raises(Invalid, match=r"'exp-1' on group 'judge' uses .* 'judge-b'.* gone"):
        draft(values, experiment())


def test_a_deployment_with_a_literal_key_cannot_join_another_group() -> None:
    values = judge()
    values["model_list"][3]["litellm_params"]["api_key"] = "sk-secret"
    arms = {"primary": ("judge-a",), "canary": ("spare-a",)}
    with pytest.raises(Invalid, match=r"'spare-a' has a literal key.*os.environ") as refusal:
        check_experiment(catalogue(values), experiment(arms=arms))
    assert "sk-secret" not in str(refusal.value)


def test_a_paused_experiment_keeps_its_group() -> None:
    found = draft(judge(), experiment(status=Status.PAUSED))
    assert found.table.groups["judge"].paused
    assert found.table.groups["judge"].experiment_id == "exp-1"


def test_another_model_behind_the_same_id_opens_an_epoch() -> None:
    implicit = draft(judge()).steps[0].after
    before = {"judge-b": "openai/gpt-4.1", "draft-a": "openai/gpt-4.1-mini"}
    found = draft(judge(), implicit, before=before)
    assert [(s.action, s.after.epoch, s.after.stage) for s in found.steps] == [
        ("epoch_opened", 2, 1)
    ]
    explicit = draft(judge(), implicit, experiment(stage=3), before=before)
    assert ("exp-1", 2, 1) in [
        (s.after.id, s.after.epoch, s.after.stage) for s in explicit.steps
    ]
    assert explicit.table.groups["judge"].epoch == 2


def test_drafts_and_ended_experiments_change_nothing() -> None:
    plain = draft(judge()).table
    for status in (Status.DRAFT, Status.COMPLETED):
        assert draft(judge(), experiment(status=status)).table == plain


def test_keys_are_published_by_their_digest() -> None:
    caller = Caller("key-1", "p", frozenset({"infer"}))
    made = Sources(catalogue(judge()), (), {"ab" * 32: caller}, {})
    assert draft_table(made, now=NOON).table.keys == {"ab" * 32: caller}
