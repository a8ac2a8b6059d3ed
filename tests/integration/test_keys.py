"""API keys: made, listed, revoked."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sidecar.handoff.routes import from_document
from sidecar.store.database import transaction
from tests.apis import Sidecar, sidecar
from tests.configurations import judge


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


async def make(api: Sidecar, **more: Any) -> dict[str, Any]:
    body = {"project_id": "acme", "scopes": ["infer"], **more}
    return dict((await api.admin.post("/v1/keys", json=body)).raise_for_status().json())


async def test_a_key_is_told_once_and_kept_as_its_digest(api: Sidecar) -> None:
    made = await make(api, scopes=["read", "infer"], models=["judge"], name="ci")
    assert made["key"].startswith("so-")
    assert len(made["key"]) == 46
    assert made["scopes"] == ["infer", "read"]
    (listed,) = (await api.admin.get("/v1/keys")).json()["items"]
    assert "key" not in listed
    assert (listed["id"], listed["name"], listed["models"]) == (made["id"], "ci", ["judge"])
    async with transaction(api.app.state.context.engine) as tx:
        dump = str(
            (await tx.execute(text("SELECT keys::text, events::text FROM keys, events"))).all()
        )
    assert made["key"] not in dump
    assert hashlib.sha256(made["key"].encode()).hexdigest() in dump


async def test_the_proxy_is_told_of_a_key_and_of_its_end(api: Sidecar) -> None:
    made = await make(api, models=["judge"])
    digest = hashlib.sha256(made["key"].encode()).hexdigest()
    routes = api.volume / "routes.json"
    caller = from_document(routes.read_bytes()).keys[digest]
    assert (caller.key_id, caller.project_id) == (made["id"], "acme")
    assert (sorted(caller.scopes), sorted(caller.models)) == (["infer"], ["judge"])
    assert made["key"] not in routes.read_text()
    (await api.admin.post(f"/v1/keys/{made['id']}/revoke")).raise_for_status()
    assert digest not in from_document(routes.read_bytes()).keys


async def test_revoking_twice_keeps_the_first_moment(api: Sidecar) -> None:
    made = await make(api)
    first = (await api.admin.delete(f"/v1/keys/{made['id']}")).json()
    again = (await api.admin.post(f"/v1/keys/{made['id']}/revoke")).json()
    assert first["revoked_at"] is not None
    assert again["revoked_at"] == first["revoked_at"]


async def test_an_unknown_key_cannot_be_revoked(api: Sidecar) -> None:
    assert (await api.admin.delete("/v1/keys/key-none")).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "infer"},
        {"project_id": "a/b"},
        {"project_id": "x" * 64},
        {"models": ["a\x00"]},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"key": "so-mine"},
    ],
)
async def test_what_can_be_no_key_is_refused(api: Sidecar, wrong: dict[str, Any]) -> None:
    body = {"project_id": "acme", "scopes": ["infer"], **wrong}
    assert (await api.admin.post("/v1/keys", json=body)).status_code == 422
    assert (await api.admin.get("/v1/keys")).json()["items"] == []


async def test_a_key_can_expire(api: Sidecar) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = await make(api, scopes=["read"], expires_at=soon.isoformat())
    async with transaction(api.app.state.context.engine) as tx:
        await tx.execute(text("UPDATE keys SET expires_at = now() - interval '1 hour'"))
    async with api.client(made["key"]) as client:
        refused = await client.get("/v1/routes")
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]


async def test_an_admin_of_a_project_reaches_only_its_keys(api: Sidecar) -> None:
    theirs = await make(api, project_id="theirs")
    admin = await make(api, project_id="acme", scopes=["admin"])
    async with api.client(admin["key"]) as client:
        listed = (await client.get("/v1/keys")).json()["items"]
        assert [key["id"] for key in listed] == [admin["id"]]
        assert (await client.delete(f"/v1/keys/{theirs['id']}")).status_code == 404
        body = {"project_id": "theirs", "scopes": ["read"]}
        assert (await client.post("/v1/keys", json=body)).status_code == 403
        made = await client.post("/v1/keys", json={"scopes": ["read"]})
        assert made.json()["project_id"] == "acme"


async def test_keys_come_in_pages(api: Sidecar) -> None:
    made = [(await make(api))["id"] for _ in range(3)]
    first = (await api.admin.get("/v1/keys", params={"limit": 2})).json()
    rest = (await api.admin.get("/v1/keys", params={"limit": 2, "after": first["next"]})).json()
    assert [k["id"] for k in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None
