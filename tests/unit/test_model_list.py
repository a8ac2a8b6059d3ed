from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.core.cold_start import cold_start
from sidecar.core.errors import Invalid
from sidecar.core.model_list import compile_groups, read_model_list

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def entry(
    name: str = "d1", weight: object = 1, group: str = "judge", **info: object
) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {"model": "openai/a", "weight": weight},
        "model_info": {"id": name, **info},
    }


def two(**canary: Any) -> dict[str, Any]:
    weight = canary.pop("weight", 20)
    return {"model_list": [entry("p", 80), entry("c", weight, arm="canary", **canary)]}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        pytest.param({}, "model_list", id="no list"),
        pytest.param({"model_list": []}, "at least one", id="an empty list"),
        pytest.param({"model_list": ["judge"]}, "entry 1", id="no mapping"),
        pytest.param({"model_list": [{"litellm_params": {}}]}, "model_name", id="no name"),
        pytest.param(
            {"model_list": [{"model_name": "j"}]}, "litellm_params.model", id="no model"
        ),
        pytest.param(two(weight=-1), "weight", id="a negative weight"),
        pytest.param(two(weight="5"), "weight", id="a weight in quotes"),
        pytest.param(two(weight=True), "weight", id="a weight of true"),
        pytest.param(two(weight=float("nan")), "weight", id="a weight of nan"),
        pytest.param({"model_list": [entry(weight=0)]}, "only weights of 0", id="all zero"),
        pytest.param({"model_list": [entry(), entry()]}, "d1", id="an id twice"),
        pytest.param({"model_list": [entry(arm="no spaces")]}, "arm", id="an arm with a space"),
        pytest.param({"model_list": [entry(arm="x" * 41)]}, "arm", id="a long arm"),
        pytest.param({"model_list": [entry(arm=7)]}, "arm", id="an arm of 7"),
        pytest.param(
            {"model_list": [entry(arm="canary")]}, "none is 'primary'", id="no primary"
        ),
        pytest.param({"model_list": [entry(task="guess")]}, "judge, draft, other", id="a task"),
        pytest.param(
            {"model_list": [entry(task="judge", labels=[])]},
            "at least one label",
            id="no label",
        ),
        pytest.param(
            {"model_list": [entry(task="judge", labels=["a", "A "])]}, "each once", id="twins"
        ),
        pytest.param(
            {"model_list": [entry(task="judge", labels="a")]},
            "list of names",
            id="no list of labels",
        ),
        pytest.param(two(task="judge"), "different tasks", id="two tasks in a group"),
    ],
)
def test_what_could_not_be_routed_is_refused_by_name(
    config: dict[str, Any], named: str
) -> None:
    with pytest.raises(Invalid, match=named):
        read_model_list(config)


def test_a_split_group_needs_ids_and_a_single_one_does_not() -> None:
    config = two()
    del config["model_list"][1]["model_info"]["id"]
    with pytest.raises(Invalid, match=r"model_info\.id"):
        read_model_list(config)
    del config["model_list"][1]["model_info"]["arm"]
    group = compile_groups(read_model_list(config))["judge"]
    assert not group.is_split


def test_weights_of_an_arms_deployments_add_up() -> None:
    config = {"model_list": [entry("p1", 30), entry("p2", 50), entry("c", 20, arm="canary")]}
    group = compile_groups(read_model_list(config))["judge"]
    assert {arm.name: arm.share_bp for arm in group.arms} == {"primary": 8_000, "canary": 2_000}
    assert group.arms[0].deployments == ("p1", "p2")


def test_a_deployment_of_weight_0_beside_others_serves_nobody() -> None:
    config = {"model_list": [entry("p1", 1), entry("p2", 0), entry("c", 0, arm="canary")]}
    group = compile_groups(read_model_list(config))["judge"]
    assert group.arms[0].deployments == ("p1",)
    assert (group.arms[1].share_bp, group.arms[1].deployments) == (0, ("c",))


def test_a_cold_start_has_the_salts_that_will_be_published() -> None:
    table = cold_start(two(), now=NOON)
    group = table.groups["judge"]
    assert (table.generation, group.experiment_id, group.salt) == (
        0,
        "yaml-judge",
        "yaml-judge",
    )
    assert (group.epoch, group.stage) == (0, 0)
