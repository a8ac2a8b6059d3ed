"""What a project's key opens, and what it does not."""

import httpx
import openai
import pytest

from tests.e2e.calls import POST, chat
from tests.e2e.conftest import System, wait_for


def make_key(system: System, **more: object) -> dict[str, str]:
    body = {"project_id": "keys", "scopes": ["infer"], **more}
    made = system.admin.post("/v1/keys", json=body).raise_for_status().json()
    system.settle()
    return dict(made)


def test_a_revoked_key_is_refused_by_every_worker(system: System) -> None:
    made = make_key(system)
    assert chat(system.client(made["key"]), "echo", "u", stream=False).status == 200
    system.admin.delete(f"/v1/keys/{made['id']}").raise_for_status()
    system.settle()
    # Each request is a connection of its own, so that both workers are asked.
    for _ in range(10):
        assert chat(system.client(made["key"]), "echo", "u", stream=False).status == 401


def test_a_key_for_some_models_reaches_no_other(system: System) -> None:
    client = system.client(make_key(system, models=["echo"])["key"])
    assert chat(client, "echo", "u", stream=False).status == 200
    with pytest.raises(openai.PermissionDeniedError, match="'echo'"):
        client.chat.completions.create(
            model="judge", messages=[{"role": "user", "content": POST}]
        )


def test_a_key_without_infer_opens_nothing_at_the_proxy(system: System) -> None:
    client = system.client(make_key(system, scopes=["read"])["key"])
    assert chat(client, "echo", "u", stream=False).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/model/info",
        "/get/config/callbacks",
        "/key/generate",
        "/v1/model/info",
        "/health",
        "/routes",
    ],
)
def test_litellms_administration_is_closed_to_a_projects_key(system: System, path: str) -> None:
    headers = {"Authorization": f"Bearer {system.key}"}
    answer = httpx.get(f"{system.running.proxy_url}{path}", headers=headers, timeout=30)
    assert answer.status_code in {403, 404, 405}
    assert "judge-primary" not in answer.text


@pytest.mark.parametrize("key", ["", "so-unknown", "sk-unknown", "é"])
def test_an_unknown_key_is_a_401_in_openais_format(system: System, key: str) -> None:
    answer = httpx.post(
        f"{system.running.proxy_url}/v1/chat/completions",
        json={"model": "judge", "messages": []},
        headers={"Authorization": f"Bearer {key}".encode()} if key else {},
        timeout=30,
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["param"] == "api_key"
    assert not key or key not in answer.text


def test_the_master_key_opens_litellms_administration(system: System) -> None:
    headers = {"Authorization": f"Bearer {system.running.master_key}"}
    answer = httpx.get(f"{system.running.proxy_url}/v1/model/info", headers=headers, timeout=30)
    assert answer.status_code == 200


def test_a_projects_key_asks_the_admin_api_only_what_its_scopes_allow(system: System) -> None:
    reader = make_key(system, scopes=["read"])["key"]
    with httpx.Client(
        base_url=system.running.sidecar_url, headers={"Authorization": f"Bearer {reader}"}
    ) as client:
        assert client.get("/v1/calls").status_code == 200
        refused = client.post("/v1/keys", json={"project_id": "keys", "scopes": ["admin"]})
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_call_of_another_project_is_not_shown(system: System) -> None:
    seen = chat(system.client(), "echo", "u", stream=False)
    system.call(seen.call_id)
    reader = make_key(system, scopes=["read"])["key"]
    answer = httpx.get(
        f"{system.running.sidecar_url}/v1/calls/{seen.call_id}",
        headers={"Authorization": f"Bearer {reader}"},
    )
    assert answer.status_code in {403, 404}
    wait_for("the owner to see it", lambda: system.call(seen.call_id))
