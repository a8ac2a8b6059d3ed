"""Who may ask the admin API for what, and in which form it refuses."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from sidecar.api.deps import Tx
from tests.apis import ADMIN_KEY, Sidecar, sidecar, until
from tests.configurations import judge
from tests.databases import create_database, drop_database

SCOPED = [
    ("GET", "/v1/experiments", "read"),
    ("GET", "/v1/experiments/x", "read"),
    ("GET", "/v1/experiments/x/results", "read"),
    ("GET", "/v1/experiments/x/events", "read"),
    ("POST", "/v1/experiments", "operate"),
    ("POST", "/v1/experiments/x/start", "operate"),
    ("POST", "/v1/experiments/x/pause", "operate"),
    ("POST", "/v1/experiments/x/resume", "operate"),
    ("POST", "/v1/experiments/x/stop", "operate"),
    ("PUT", "/v1/experiments/x/shares", "operate"),
    ("PUT", "/v1/experiments/x/plan", "operate"),
    ("POST", "/v1/experiments/x/promote", "operate"),
    ("POST", "/v1/experiments/x/rollback", "operate"),
    ("POST", "/v1/experiments/x/undo", "operate"),
    ("GET", "/v1/experiments/x/epochs", "read"),
    ("GET", "/v1/experiments/x/decisions", "read"),
    ("GET", "/v1/experiments/x/looks", "read"),
    ("GET", "/v1/experiments/x/verify", "read"),
    ("POST", "/v1/experiments/x/verify", "operate"),
    ("GET", "/v1/experiments/x/audits", "review"),
    ("GET", "/v1/feedback", "read"),
    ("POST", "/v1/feedback", "review"),
    ("GET", "/v1/preferences", "read"),
    ("GET", "/v1/preferences/summary", "read"),
    ("GET", "/v1/reviews/next", "review"),
    ("POST", "/v1/reviews", "review"),
    ("GET", "/v1/reviews/agreement", "read"),
    ("GET", "/v1/datasets", "read"),
    ("POST", "/v1/datasets", "operate"),
    ("GET", "/v1/datasets/x", "read"),
    ("POST", "/v1/datasets/x/verify", "read"),
    ("GET", "/v1/datasets/x/export", "read"),
    ("GET", "/v1/judgments/export", "read"),
    ("GET", "/v1/routes", "read"),
    ("GET", "/v1/routes/explain", "read"),
    ("GET", "/v1/models", "read"),
    ("GET", "/v1/models/x", "read"),
    ("POST", "/v1/models", "admin"),
    ("POST", "/v1/models/activate", "operate"),
    ("POST", "/v1/models/deactivate", "operate"),
    ("POST", "/v1/models/x/versions/1/activate", "operate"),
    ("POST", "/v1/models/x/versions/1/deactivate", "operate"),
    ("GET", "/v1/calls", "read"),
    ("GET", "/v1/calls/x", "read"),
    ("GET", "/v1/keys", "admin"),
    ("POST", "/v1/keys", "admin"),
    ("POST", "/v1/keys/x/revoke", "admin"),
    ("DELETE", "/v1/keys/x", "admin"),
    ("GET", "/metrics", "read"),
]
OPEN = {"/health/live", "/health/ready"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


async def test_every_route_needs_its_scope_and_no_other_will_do(api: Sidecar) -> None:
    scopes = ("infer", "read", "review", "operate")
    keys = {scope: await api.key(scopes=[scope]) for scope in scopes}
    for method, path, needed in SCOPED:
        for scope, key in keys.items():
            async with api.client(key) as client:
                answer = await client.request(method, path, json={})
            refused = answer.status_code == 403
            assert refused == (scope != needed), (method, path, scope, answer.text)


async def test_the_list_of_scopes_above_is_complete(api: Sidecar) -> None:
    schema = (await api.admin.get("/openapi.json")).json()
    found = {
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method in methods
        if path not in OPEN
    }
    assert len(found) == len(SCOPED)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwdw==",
        "Bearer so-unknown",
        f"Bearer {ADMIN_KEY}x",
        f"Bearer {ADMIN_KEY[:-1]}",
        ADMIN_KEY,
        "Bearer \xff\xfe",
    ],
)
async def test_nobody_unknown_gets_in(api: Sidecar, authorization: str | None) -> None:
    headers = (
        {} if authorization is None else {b"Authorization": authorization.encode("latin1")}
    )
    async with api.client(None) as client:
        for method, path, _ in SCOPED:
            answer = await client.request(method, path, headers=headers, json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:signalops:unauthenticated"


async def test_a_revoked_key_opens_nothing(api: Sidecar) -> None:
    body = {"project_id": "tests", "scopes": ["read"]}
    made = (await api.admin.post("/v1/keys", json=body)).json()
    async with api.client(made["key"]) as client:
        assert (await client.get("/v1/routes")).status_code == 200
        await api.admin.delete(f"/v1/keys/{made['id']}")
        assert (await client.get("/v1/routes")).status_code == 401


async def test_an_error_is_a_problem_that_a_program_can_tell(api: Sidecar) -> None:
    unknown = await api.admin.get("/v1/nope")
    assert unknown.status_code == 404
    wrong = await api.admin.patch("/v1/routes")
    assert wrong.status_code == 405
    for answer in (unknown, wrong):
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail"}


async def test_a_mistake_of_ours_is_a_500_that_tells_nothing_of_it(api: Sidecar) -> None:
    @api.app.get("/broken")
    async def broken() -> None:
        msg = "the secret is 4711"
        raise RuntimeError(msg)

    async with api.client(None) as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:signalops:internal-error"
    assert "4711" not in answer.text


async def test_the_commit_comes_before_the_answer(api: Sidecar) -> None:
    """A deferred constraint fails at the commit, after the endpoint has returned."""

    @api.app.post("/late")
    async def late(tx: Tx) -> str:
        await tx.execute(text("CREATE TABLE a (id int PRIMARY KEY)"))
        await tx.execute(
            text("CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        )
        await tx.execute(text("INSERT INTO b VALUES (1)"))
        return "done"

    async with api.client(None) as client:
        assert (await client.post("/late")).status_code == 500


async def test_a_repeated_create_makes_one_and_answers_the_same(api: Sidecar) -> None:
    body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.5}}
    headers = {"Idempotency-Key": "try-1"}
    first = await api.admin.post("/v1/experiments", json=body, headers=headers)
    again = await api.admin.post("/v1/experiments", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["etag"] == first.headers["etag"]
    other = {**body, "hypothesis": "another"}
    refused = await api.admin.post("/v1/experiments", json=other, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:signalops:conflict")
    fresh = await api.admin.post(
        "/v1/experiments", json=other, headers={"Idempotency-Key": "try-2"}
    )
    assert fresh.json()["id"] != first.json()["id"]


async def test_two_callers_may_use_the_same_idempotency_key(api: Sidecar) -> None:
    body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.5}}
    headers = {"Idempotency-Key": "1"}
    first = await api.admin.post("/v1/experiments", json=body, headers=headers)
    async with api.client(await api.key(scopes=["operate"])) as client:
        second = await client.post("/v1/experiments", json=body, headers=headers)
    assert second.json()["id"] != first.json()["id"]


async def test_a_refused_create_does_not_use_its_idempotency_key_up(api: Sidecar) -> None:
    headers = {"Idempotency-Key": "1"}
    body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.4}}
    assert (await api.admin.post("/v1/experiments", json=body, headers=headers)).is_error
    body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.5}}
    made = await api.admin.post("/v1/experiments", json=body, headers=headers)
    assert made.status_code == 201


async def test_a_repeated_key_is_not_told_again(api: Sidecar) -> None:
    body, headers = {"scopes": ["read"]}, {"Idempotency-Key": "k"}
    first = (await api.admin.post("/v1/keys", json=body, headers=headers)).json()
    again = (await api.admin.post("/v1/keys", json=body, headers=headers)).json()
    assert first["key"].startswith("so-")
    assert again == {**first, "key": None}
    assert len((await api.admin.get("/v1/keys")).json()["items"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "a b"])
async def test_an_odd_idempotency_key_is_refused(api: Sidecar, key: str) -> None:
    answer = await api.admin.post(
        "/v1/keys", json={"scopes": ["read"]}, headers={"Idempotency-Key": key}
    )
    assert answer.status_code == 422


async def test_health_tells_details_only_to_who_has_a_key(api: Sidecar) -> None:
    async with api.client(None) as client:
        assert (await client.get("/health/live")).json()["status"] == "ok"
        assert (await client.get("/health/ready")).json() == {
            "status": "ready",
            "waiting_for": [],
        }
    found = (await api.admin.get("/health/ready")).json()
    assert found["generation"] == 1
    assert found["reconciliation"]["served"] == 0
    async with api.client(await api.key(scopes=["infer"])) as client:
        assert "generation" not in (await client.get("/health/ready")).json()
    async with api.client(await api.key()) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ready"


async def test_metrics_are_prometheus_text(api: Sidecar) -> None:
    answer = await api.admin.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "signalops_generation 1.0" in answer.text


async def test_without_the_admin_role_only_health_and_metrics_are_served(
    database_url: str, tmp_path: Path
) -> None:
    roles = "publish,drain,control"
    async with sidecar(database_url, tmp_path, judge(), roles=roles) as found:
        assert (await found.admin.get("/v1/routes")).status_code == 404
        assert (await found.admin.get("/health/ready")).json()["drain"]["error"] is None
        assert "signalops_control_looks_total" in (await found.admin.get("/metrics")).text


async def test_an_outage_of_the_database_is_a_503_and_passes(
    database_url: str, server_url: str, template: str, tmp_path: Path
) -> None:
    async with sidecar(database_url, tmp_path, judge()) as found:
        await asyncio.to_thread(drop_database, database_url)
        answer = await found.admin.get("/v1/routes")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:signalops:unavailable")
        ready = await found.admin.get("/health/ready")
        assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["database"])
        assert (await found.admin.get("/health/live")).status_code == 200
        publisher = found.app.state.context.publisher
        await until(lambda: publisher.status.error)
        name = str(make_url(database_url).database)
        await asyncio.to_thread(create_database, server_url, name, template)
        await until(lambda: publisher.status.error is None)
        assert await found.key()
        assert (await found.admin.get("/health/ready")).status_code == 200
