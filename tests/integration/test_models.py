"""The registry: what is registered, what serves, and when."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apis import Sidecar, sidecar
from tests.configurations import FINE_TUNED, judge

MODEL = {"model_id": FINE_TUNED, "provider": "openai", "type": "judge"}
SECOND = {**MODEL, "model_id": "ft:gpt-4o-mini-2024-07-18:acme:triage:A2"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


async def register(api: Sidecar, **more: Any) -> dict[str, Any]:
    return dict(
        (await api.admin.post("/v1/models", json={**MODEL, **more})).raise_for_status().json()
    )


async def switch(api: Sidecar, number: int, action: str) -> dict[str, Any]:
    path = f"/v1/models/triage/versions/{number}/{action}"
    return dict((await api.admin.post(path)).raise_for_status().json())


async def test_a_registered_version_serves_its_own_id_and_waits_to_be_activated(
    api: Sidecar,
) -> None:
    made = await register(api)
    assert (made["name"], made["number"], made["is_active"]) == ("triage", 1, False)
    assert (made["alias"], made["deployment_id"]) == ("ft:triage", "ft:triage@v1")
    groups = (await api.routes())["groups"]
    assert FINE_TUNED in groups
    assert "ft:triage" not in groups


async def test_activating_replaces_what_the_name_means(api: Sidecar) -> None:
    await register(api)
    await register(api, **SECOND)
    await switch(api, 1, "activate")
    await switch(api, 2, "activate")
    (arm,) = (await api.routes())["groups"]["ft:triage"]["arms"]
    assert arm["deployments"] == ["ft:triage@v2"]
    found = (await api.admin.get("/v1/models")).json()["items"]
    assert [(m["name"], m["active"]) for m in found] == [("triage", 2)]
    assert [v["is_active"] for v in found[0]["versions"]] == [False, True]
    await switch(api, 2, "deactivate")
    assert "ft:triage" not in (await api.routes())["groups"]


async def test_the_providers_id_will_do_in_place_of_name_and_number(api: Sidecar) -> None:
    await register(api)
    body = {"model_id": FINE_TUNED, "reason": "it is better"}
    done = await api.admin.post("/v1/models/activate", json=body)
    assert done.json()["is_active"]
    done = await api.admin.post("/v1/models/deactivate", json=body)
    assert not done.json()["is_active"]
    unknown = await api.admin.post("/v1/models/activate", json={"model_id": "ft:x"})
    assert unknown.status_code == 404


async def test_a_version_in_a_running_experiment_cannot_be_taken_away(api: Sidecar) -> None:
    await register(api)
    await switch(api, 1, "activate")
    arms = {"primary": ["ft:triage"], "canary": ["judge-a"]}
    made = await api.experiment(group="ft:triage", arms=arms)
    await api.do(made["id"], "start")
    path = "/v1/models/triage/versions/1/deactivate"
    refused = await api.admin.post(path)
    assert refused.status_code == 409
    assert made["id"] in refused.json()["detail"]
    await api.do(made["id"], "stop")
    assert (await api.admin.post(path)).status_code == 200


async def test_the_same_result_is_registered_once(api: Sidecar) -> None:
    await register(api)
    again = await api.admin.post("/v1/models", json={**MODEL, "name": "other"})
    assert again.status_code == 409
    assert "version 1 of 'triage'" in again.json()["detail"]


async def test_a_name_has_one_type(api: Sidecar) -> None:
    await register(api)
    other = await api.admin.post("/v1/models", json={**SECOND, "type": "drafter"})
    assert other.status_code == 409


async def test_a_providers_prefix_is_taken_off_the_id(api: Sidecar) -> None:
    made = await register(api, model_id=f"openai/{FINE_TUNED}")
    assert made["model_id"] == FINE_TUNED


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "poet"},
        {"model_id": ""},
        {"model_id": "a\x00b"},
        {"name": "Not Plain"},
        {"api_key_env": "SIGNALOPS_ADMIN_KEY"},
        {"api_base": "not an address"},
        {"api_key": "sk-1"},
    ],
)
async def test_what_cannot_be_registered_is_refused(
    api: Sidecar, wrong: dict[str, str]
) -> None:
    refused = await api.admin.post("/v1/models", json={**MODEL, **wrong})
    assert refused.status_code == 422
    assert (await api.admin.get("/v1/models")).json() == {"items": []}


@pytest.mark.parametrize(
    "path", ["none", "triage/versions/9/activate", "none/versions/1/activate"]
)
async def test_an_unknown_model_is_a_404(api: Sidecar, path: str) -> None:
    await register(api)
    method = "POST" if "versions" in path else "GET"
    answer = await api.admin.request(method, f"/v1/models/{path}")
    assert answer.status_code == 404
    if method == "GET":
        assert "'triage'" in answer.json()["detail"]


async def test_a_repeated_registration_makes_one_version(api: Sidecar) -> None:
    headers = {"Idempotency-Key": "r-1"}
    first = await api.admin.post("/v1/models", json=MODEL, headers=headers)
    again = await api.admin.post("/v1/models", json=MODEL, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_model_of_another_provider_is_served_as_registered(api: Sidecar) -> None:
    await register(
        api,
        model_id="judge-7b",
        provider="hosted_vllm",
        name="local",
        api_base="http://gpu:8000/v1",
        api_key_env="VLLM_KEY",
    )
    path = "/v1/models/local/versions/1/activate"
    (await api.admin.post(path)).raise_for_status()
    text = (api.volume / "routes.json").read_text()
    assert '"hosted_vllm/judge-7b"' in text
    assert '"os.environ/VLLM_KEY"' in text
