"""Names, ids and addresses of registered models, and the deployments they become."""

from typing import Any

import pytest

from sidecar.core.errors import Invalid
from sidecar.core.registry import (
    ModelType,
    base_model_of,
    check_version,
    default_name,
    entries_of,
)
from sidecar.core.routing import Task
from tests.configurations import FINE_TUNED, version


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        pytest.param(FINE_TUNED, "triage", id="the suffix its trainer chose"),
        pytest.param("ft:gpt-4o-mini:acme::A1b2", "a1b2", id="no suffix, so its own id"),
        pytest.param("ft:gpt-4o-mini:::", "gpt-4o-mini", id="neither"),
        pytest.param("models/Qwen 2.5/Judge_7B", "judge_7b", id="a path"),
        pytest.param("日本", "model", id="nothing that could be a name"),
    ],
)
def test_a_name_is_derived_from_the_providers_id(model_id: str, name: str) -> None:
    assert default_name(model_id).endswith(name)


def test_a_derived_name_is_always_a_good_name() -> None:
    for model_id in ("ft:a:b:ÄÖ Ü:x", "ft:::::", "/", "x" * 300, "-._-"):
        check_version(version(name=default_name(model_id)))


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("openai/ft:gpt-4.1-2025-04-14:acme:s:1", "ft:gpt-4.1-2025-04-14"),
        ("ft:gpt-4o-mini-2024-07-18:acme::1", "ft:gpt-4o-mini-2024-07-18"),
        ("openai/gpt-4.1", None),
        ("azure/ft:gpt-4o", None),
        ("ft:", None),
    ],
)
def test_a_fine_tuned_model_is_priced_as_its_base(model: str, base: str | None) -> None:
    assert base_model_of(model) == base


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"name": "Triage"}, id="an upper case name"),
        pytest.param({"name": "a:b"}, id="a name that looks like a provider's id"),
        pytest.param({"name": "a@v1"}, id="a name with a version in it"),
        pytest.param({"model_id": "has blank"}, id="an id with a blank"),
        pytest.param({"model_id": "x\x00"}, id="an id with a NUL"),
        pytest.param({"model_id": "x" * 301}, id="an endless id"),
        pytest.param({"provider": "open ai"}, id="no provider's name"),
        pytest.param({"api_base": "file:///etc/passwd"}, id="no address"),
        pytest.param({"api_base": "http://[::1"}, id="a broken address"),
        pytest.param({"api_base": "https://user:pw@host/v1"}, id="a password in the address"),
        pytest.param({"api_key_env": "sk-123"}, id="a key in place of its name"),
        pytest.param({"api_key_env": "SIGNALOPS_ADMIN_KEY"}, id="our own key"),
        pytest.param({"api_key_env": "LITELLM_MASTER_KEY"}, id="the proxy's master key"),
        pytest.param({"api_key_env": "DATABASE_URL"}, id="the database's password"),
    ],
)
def test_what_could_not_be_served_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refusal:
        check_version(version(**wrong))
    assert "pw" not in str(refusal.value)


def test_an_active_version_serves_its_name_and_its_providers_id() -> None:
    routed, spare = entries_of([version(is_active=True, api_base="http://lab/v1")])
    assert spare == []
    assert [(e.group, e.id) for e in routed] == [
        ("ft:triage", "ft:triage@v1"),
        (FINE_TUNED, FINE_TUNED),
    ]
    assert routed[0].raw["litellm_params"] == {
        "model": f"openai/{FINE_TUNED}",
        "api_base": "http://lab/v1",
    }


def test_a_version_that_is_not_active_serves_only_under_its_providers_id() -> None:
    routed, spare = entries_of([version()])
    assert [e.group for e in routed] == [FINE_TUNED]
    assert [e.id for e in spare] == ["ft:triage@v1"]


def test_a_model_without_an_ft_id_is_served_only_by_its_name() -> None:
    routed, _ = entries_of([version(model_id="judge-7b", provider="ollama", is_active=True)])
    assert [e.group for e in routed] == ["ft:triage"]
    assert routed[0].model == "ollama/judge-7b"


def test_a_key_is_named_and_never_held() -> None:
    routed, _ = entries_of([version(api_key_env="ACME_KEY")])
    params = routed[0].raw["litellm_params"]
    assert isinstance(params, dict)
    assert params["api_key"] == "os.environ/ACME_KEY"


@pytest.mark.parametrize(
    ("kind", "task"), [(ModelType.JUDGE, Task.JUDGE), (ModelType.DRAFTER, Task.DRAFT)]
)
def test_a_models_type_is_its_task(kind: ModelType, task: Task) -> None:
    routed, _ = entries_of([version(type=kind)])
    assert (routed[0].task, bool(routed[0].labels)) == (task, kind is ModelType.JUDGE)
