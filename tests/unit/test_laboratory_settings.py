"""Are a model's settings checked, with words that help?"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.core.errors import Invalid
from sidecar.up.laboratory.settings import (
    Latency,
    ModelBehaviour,
    changed,
    default_behaviours,
    load_behaviours,
    parse_behaviour,
    unique,
)

WRONG = [
    pytest.param({"error_rate": 1.5}, "error_rate: .*less than or equal to 1.*1.5", id="rate"),
    pytest.param({"error_rate": -0.1}, "error_rate: .*greater than", id="negative rate"),
    pytest.param({"fence_rate": float("nan")}, "fence_rate: .*finite", id="no number"),
    pytest.param({"error_kind": "503"}, "error_kind: .*'500', '429'.*503", id="error kind"),
    pytest.param({"error_kind": True}, "error_kind: ", id="a boolean is no status"),
    pytest.param({"judge": "oracle"}, "judge: .*'keyword'.*oracle", id="judge"),
    pytest.param({"latency_ms": {"median": -1}}, "latency_ms.median", id="negative latency"),
    pytest.param({"latency_ms": {"median": 9, "p95": 3}}, "at least the median", id="p95"),
    pytest.param({"latency_ms": {"p95": 3}}, "equal if 0", id="p95 over no median"),
    pytest.param({"colour": "blue"}, "colour: Extra inputs", id="unknown setting"),
    pytest.param({"name": "two words"}, "name: ", id="name with a space"),
    pytest.param({"name": ""}, "name: ", id="no name"),
    pytest.param({"malformed_kinds": []}, "malformed_kinds: ", id="no kind to choose"),
    pytest.param({"keywords": {"yes": []}}, "keywords must name a word", id="no keyword"),
    pytest.param(
        {"judge": "echo", "malformed_rate": 0.1},
        r"\['malformed_rate'\] need judge 'keyword' or 'classifier', not 'echo'",
        id="an echo cannot be malformed",
    ),
    pytest.param(
        {"judge": "classifier", "keywords": {"yes": ["a"]}},
        "keywords need judge 'keyword'",
        id="keywords for a classifier",
    ),
]


@pytest.mark.parametrize(("settings", "complaint"), WRONG)
def test_a_wrong_setting_is_named(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        parse_behaviour({"name": "m", "judge": "keyword", **settings})


def test_a_status_may_be_a_number() -> None:
    behaviour = parse_behaviour({"name": "m", "judge": "echo", "error_kind": 429})
    assert behaviour.error_kind == "429"


def test_a_change_keeps_everything_else() -> None:
    before = ModelBehaviour(name="m", judge="keyword", latency_ms=Latency(median=9), seed=3)
    after = changed(before, {"error_rate": 0.5})
    assert after == before.model_copy(update={"error_rate": 0.5})


def test_a_running_model_keeps_its_name() -> None:
    with pytest.raises(Invalid, match="name of model 'm' cannot be changed"):
        changed(ModelBehaviour(name="m", judge="echo"), {"name": "n"})


def test_the_default_models_come_back_the_same_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    rows = [behaviour.model_dump(mode="json") for behaviour in default_behaviours()]
    path.write_bytes(orjson.dumps({"models": rows}))
    assert load_behaviours(path) == default_behaviours()


def test_a_relative_training_file_lies_beside_the_models_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    rows = [{"name": "m", "judge": "classifier", "train_path": "train.jsonl"}]
    path.write_bytes(orjson.dumps(rows))
    assert load_behaviours(path)[0].train_path == tmp_path / "train.jsonl"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param("{", "cannot be read", id="no JSON"),
        pytest.param("3", "must hold a list of objects", id="no list"),
        pytest.param("[3]", "must hold a list of objects", id="no objects"),
        pytest.param("{}", "must hold a list of objects", id="no models key"),
        pytest.param("[]", "found no models", id="empty"),
        pytest.param('[{"name": "m"}]', "judge: Field required", id="no judge"),
        pytest.param(
            '[{"name": "m", "judge": "echo"}, {"name": "m", "judge": "draft"}]',
            r"found \['m'\] twice",
            id="one name twice",
        ),
    ],
)
def test_a_models_file_that_makes_no_sense_is_refused(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "models.json"
    path.write_text(content)
    with pytest.raises(Invalid, match=complaint):
        load_behaviours(path)


def test_a_missing_models_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"absent\.json"):
        load_behaviours(tmp_path / "absent.json")


def test_the_default_models_include_a_direct_fine_tune() -> None:
    names = {behaviour.name for behaviour in unique(default_behaviours())}
    assert "ft:gpt-4o-mini-2024-07-18:signalops::lab1" in names
