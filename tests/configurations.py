"""Small configurations, as a `proxy_config.yaml` has them."""

from datetime import UTC, datetime
from typing import Any

from sidecar.core.catalogue import Catalogue, catalogue_of
from sidecar.core.experiments import Experiment, Status
from sidecar.core.model_list import read_model_list
from sidecar.core.publishing import Sources
from sidecar.core.registry import ModelType, Version

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FINE_TUNED = "ft:gpt-4o-mini-2024-07-18:acme:triage:A1"


def entry(
    group: str,
    name: str | None,
    *,
    model: str = "openai/gpt-4.1-mini",
    weight: float | None = None,
    params: dict[str, Any] | None = None,
    **info: Any,
) -> dict[str, Any]:
    """Write one entry of a model_list."""
    litellm_params = {"model": model, "api_key": "os.environ/OPENAI_API_KEY", **(params or {})}
    if weight is not None:
        litellm_params["weight"] = weight
    model_info = {**({} if name is None else {"id": name}), **info}
    return {
        "model_name": group,
        "litellm_params": litellm_params,
        "model_info": model_info,
    }


def config(*entries: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Write a configuration."""
    return {"model_list": list(entries), **sections}


def judge(primary: float = 80, canary: float = 20, **sections: Any) -> dict[str, Any]:
    """Write a judge with two arms, and two models beside it."""
    return config(
        entry("judge", "judge-a", weight=primary, task="judge"),
        entry("judge", "judge-b", weight=canary, arm="canary", task="judge"),
        entry("draft", "draft-a", task="draft"),
        entry("spare", "spare-a", model="openai/gpt-4.1-nano"),
        **sections,
    )


def catalogue(values: dict[str, Any], *versions: Version) -> Catalogue:
    """Put a configuration and registered versions together."""
    return catalogue_of(read_model_list(values), versions)


def sources(found: Catalogue, *experiments: Experiment, **more: Any) -> Sources:
    """Give what a table is made of."""
    return Sources(found, experiments, more.get("keys", {}), more.get("before", {}))


def version(name: str = "triage", number: int = 1, **more: Any) -> Version:
    """Give a registered version."""
    values: dict[str, Any] = {
        "type": ModelType.JUDGE,
        "model_id": f"ft:gpt-4o-mini-2024-07-18:acme:{name}:A{number}",
        "provider": "openai",
        "created_at": NOON,
        "created_by": "admin",
        **more,
    }
    return Version(name=name, number=number, **values)


def experiment(group: str = "judge", **more: Any) -> Experiment:
    """Give a running explicit experiment."""
    values: dict[str, Any] = {
        "project_id": "default",
        "salt": "exp-1",
        "share_bp": {"primary": 5000, "canary": 5000},
        "arms": {"primary": ("judge-a",), "canary": ("judge-b",)},
        "created_at": NOON,
        "status": Status.ACTIVE,
        "stage": 1,
        **more,
    }
    return Experiment(id="exp-1", group=group, **values)
