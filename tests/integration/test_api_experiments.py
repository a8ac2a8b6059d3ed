"""Experiments as the admin API has them, from the plan to the end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apis import Sidecar, sidecar
from tests.configurations import FINE_TUNED, judge

HALF = {"primary": 0.5, "canary": 0.5}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


async def test_a_draft_changes_nothing_and_a_started_one_owns_its_group(api: Sidecar) -> None:
    before = await api.routes()
    made = await api.experiment(hypothesis="b is better", unit="user")
    assert (made["status"], made["stage"], made["version"]) == ("draft", 0, 1)
    assert made["arms"] == {"primary": ["judge-a"], "canary": ["judge-b"]}
    assert (await api.routes())["generation"] == before["generation"]
    started = await api.do(made["id"], "start", reason="let us see")
    assert (started["status"], started["stage"], started["version"]) == ("active", 1, 2)
    group = (await api.routes())["groups"]["judge"]
    assert (group["owner"], group["experiment_id"]) == ("experiment", made["id"])
    assert [arm["share"] for arm in group["arms"]] == [0.5, 0.5]
    assert group["unit"] == "user"


async def test_its_whole_life_is_in_the_audit(api: Sidecar) -> None:
    made = await api.experiment()
    path = f"/v1/experiments/{made['id']}"
    await api.do(made["id"], "start", reason="go")
    shares = {"primary": 0.4, "canary": 0.6}
    (await api.admin.put(f"{path}/shares", json={"shares": shares})).raise_for_status()
    await api.do(made["id"], "pause")
    await api.do(made["id"], "resume")
    ended = await api.do(made["id"], "stop", reason="seen enough")
    assert (ended["status"], ended["outcome"]) == ("completed", "stopped")
    events = (await api.admin.get(f"{path}/events")).json()["items"]
    assert [(e["action"], e["reason"], e["actor"]) for e in reversed(events)] == [
        ("created", None, "admin"),
        ("started", "go", "admin"),
        ("shares_set", None, "admin"),
        ("paused", None, "admin"),
        ("resumed", None, "admin"),
        ("stopped", "seen enough", "admin"),
    ]
    stages = (await api.admin.get(path)).json()["stages"]
    assert [(s["stage"], s["shares"]["canary"]) for s in stages] == [
        (1, 0.5),
        (2, 0.6),
        (3, 0.6),
    ]
    assert all(s["ended_at"] is not None for s in stages)


async def test_events_come_in_pages(api: Sidecar) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    path = f"/v1/experiments/{made['id']}/events"
    first = (await api.admin.get(path, params={"limit": 1})).json()
    second = (await api.admin.get(path, params={"limit": 1, "before": first["next"]})).json()
    assert [p["items"][0]["action"] for p in (first, second)] == ["started", "created"]
    assert second["next"] is None


async def test_the_yamls_experiment_steps_aside_and_comes_back(api: Sidecar) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    implicit = (await api.admin.get("/v1/experiments/yaml-judge")).json()
    assert (implicit["status"], implicit["stage"]) == ("paused", 1)
    await api.do(made["id"], "stop")
    implicit = (await api.admin.get("/v1/experiments/yaml-judge")).json()
    assert (implicit["status"], implicit["stage"]) == ("active", 2)
    group = (await api.routes())["groups"]["judge"]
    assert (group["owner"], group["experiment_id"]) == ("yaml", "yaml-judge")


async def test_a_second_one_on_the_same_group_is_told_of_the_first(api: Sidecar) -> None:
    first, second = await api.experiment(), await api.experiment()
    await api.do(first["id"], "start")
    await api.do(first["id"], "pause")
    refused = await api.admin.post(f"/v1/experiments/{second['id']}/start")
    assert refused.status_code == 409
    assert first["id"] in refused.json()["detail"]
    assert refused.json()["type"] == "urn:signalops:conflict"


async def test_a_paused_one_lets_the_primary_serve_all(api: Sidecar) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    await api.do(made["id"], "pause")
    params = {"group": "judge", "unit": "u-1"}
    explained = (await api.admin.get("/v1/routes/explain", params=params)).json()
    assert (explained["arm"], explained["bucket"]) == ("primary", None)
    assert "paused" in explained["why"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param({"group": "jugde"}, 404, "'judge'", id="an unknown group"),
        pytest.param({"shares": {"primary": 0.5, "canary": 0.4}}, 422, "sum to 1", id="sum"),
        pytest.param({"shares": {"primary": 1.5, "canary": -0.5}}, 422, "between", id="range"),
        pytest.param({"shares": {"primary": 1.0}}, 422, "canary", id="a single arm"),
        pytest.param({"shares": {"primary": 0.9, "b": 0.1}}, 422, "'b'", id="an unknown arm"),
        pytest.param({"shares": {"primary": True, "canary": 0}}, 422, "shares", id="no number"),
        pytest.param({"group": "draft"}, 422, "no arm 'canary'", id="a group with one arm"),
        pytest.param({"arms": {"canary": ["x"]}}, 422, "'x'", id="an unknown deployment"),
        pytest.param({"unit": "cookie"}, 422, "unit", id="an unknown unit"),
        pytest.param({"metrics": []}, 422, "metrics", id="a field of a later day"),
        pytest.param({"hypothesis": "a\x00b"}, 422, "NUL", id="a NUL"),
        pytest.param({"group": "jud\x00ge"}, 422, "control", id="a NUL in a name"),
        pytest.param({"project_id": "a b"}, 422, "project_id", id="no project's name"),
        pytest.param({"group": None}, 422, "say which group", id="no group and no arms"),
    ],
)
async def test_what_cannot_be_an_experiment_is_refused(
    api: Sidecar, body: dict[str, Any], status: int, says: str
) -> None:
    whole = {"group": "judge", "shares": HALF, **body}
    refused = await api.admin.post("/v1/experiments", json=whole)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert says in refused.json()["detail"]
    listed = (await api.admin.get("/v1/experiments")).json()["items"]
    assert [item["id"] for item in listed] == ["yaml-judge"]


@pytest.mark.parametrize("text", ['{"group": "\\ud800"}', "{", "[]", "null", '{"group": NaN}'])
async def test_what_is_no_request_is_a_422(api: Sidecar, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    refused = await api.admin.post("/v1/experiments", content=text, headers=headers)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:signalops:invalid-request"


@pytest.mark.parametrize("path", ["x%00y", "%ED%A0%80", "exp-none", "x" * 400])
async def test_an_odd_id_is_refused_and_never_an_error_of_ours(api: Sidecar, path: str) -> None:
    answer = await api.admin.get(f"/v1/experiments/{path}")
    assert answer.status_code in (404, 422)


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (["pause"], "pause"),
        (["resume"], "resume"),
        (["start", "start"], "start"),
        (["start", "resume"], "resume"),
        (["start", "pause", "pause"], "pause"),
        (["start", "pause", "start"], "start"),
        (["stop", "start"], "start"),
        (["start", "stop", "stop"], "stop"),
    ],
)
async def test_an_illegal_step_says_so(api: Sidecar, steps: list[str], last: str) -> None:
    made = await api.experiment()
    for step in steps[:-1]:
        await api.do(made["id"], step)
    refused = await api.admin.post(f"/v1/experiments/{made['id']}/{last}")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:signalops:illegal-move")


async def test_people_do_not_move_the_yamls_own_experiment(api: Sidecar) -> None:
    refused = await api.admin.post("/v1/experiments/yaml-judge/stop")
    assert refused.status_code == 409
    assert "follows the YAML" in refused.json()["detail"]


async def test_shares_must_name_the_experiments_arms(api: Sidecar) -> None:
    made = await api.experiment()
    body = {"shares": {"primary": 0.5, "other": 0.5}}
    refused = await api.admin.put(f"/v1/experiments/{made['id']}/shares", json=body)
    assert refused.status_code == 422


async def test_the_same_shares_again_open_no_stage(api: Sidecar) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    path = f"/v1/experiments/{made['id']}/shares"
    again = (await api.admin.put(path, json={"shares": HALF})).json()
    assert (again["stage"], again["version"]) == (1, 2)


async def test_a_share_of_0_is_a_share(api: Sidecar) -> None:
    made = await api.experiment(shares={"primary": 1, "canary": 0})
    await api.do(made["id"], "start")
    arms = (await api.routes())["groups"]["judge"]["arms"]
    assert [(arm["name"], arm["share"]) for arm in arms] == [("primary", 1.0), ("canary", 0.0)]


async def test_arms_may_come_from_anywhere(api: Sidecar) -> None:
    made = await api.experiment(group="draft", arms={"canary": ["spare"]})
    await api.do(made["id"], "start")
    arms = (await api.routes())["groups"]["draft"]["arms"]
    assert [arm["deployments"] for arm in arms] == [["draft-a"], ["draft/canary/spare-a"]]
    await api.do(made["id"], "stop")
    arms = (await api.routes())["groups"]["draft"]["arms"]
    assert [arm["deployments"] for arm in arms] == [["draft-a"]]


async def test_a_direct_ft_id_can_be_the_primary(api: Sidecar) -> None:
    model = {"model_id": FINE_TUNED, "provider": "openai", "type": "judge"}
    (await api.admin.post("/v1/models", json=model)).raise_for_status()
    arms = {"primary": [FINE_TUNED], "canary": ["judge-a"]}
    made = await api.experiment(group=None, arms=arms)
    assert made["group"] == FINE_TUNED
    await api.do(made["id"], "start")
    assert (await api.routes())["groups"][FINE_TUNED]["owner"] == "experiment"


async def test_an_etag_guards_a_change(api: Sidecar) -> None:
    made = await api.experiment()
    path = f"/v1/experiments/{made['id']}"
    seen = (await api.admin.get(path)).headers["etag"]
    assert seen == '"1"'
    ok = await api.admin.post(f"{path}/start", headers={"If-Match": seen})
    assert (ok.status_code, ok.headers["etag"]) == (200, '"2"')
    for stale in (seen, 'W/"1"', "nonsense", '"99"'):
        late = await api.admin.post(f"{path}/pause", headers={"If-Match": stale})
        assert (late.status_code, late.json()["type"]) == (412, "urn:signalops:stale")
    body = {"shares": {"primary": 0.9, "canary": 0.1}}
    late = await api.admin.put(f"{path}/shares", json=body, headers={"If-Match": seen})
    assert late.status_code == 412
    star = await api.admin.post(f"{path}/pause", headers={"If-Match": "*"})
    assert star.status_code == 200


async def test_a_list_comes_in_pages_newest_first(api: Sidecar) -> None:
    made = [(await api.experiment())["id"] for _ in range(5)]
    seen: list[str] = []
    after = None
    while True:
        params = {"limit": 2} | ({} if after is None else {"after": after})
        page = (await api.admin.get("/v1/experiments", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [*reversed(made), "yaml-judge"]
    only = (await api.admin.get("/v1/experiments", params={"status": "active"})).json()
    assert [item["id"] for item in only["items"]] == ["yaml-judge"]


@pytest.mark.parametrize("cursor", ["x", "%00", "e30", "WzEsMl0", "ä"])
async def test_a_cursor_that_is_none_is_refused(api: Sidecar, cursor: str) -> None:
    answer = await api.admin.get("/v1/experiments", params={"after": cursor})
    assert answer.status_code == 422


async def test_results_without_a_call_decide_nothing_and_say_what_is_missing(
    api: Sidecar,
) -> None:
    found = (await api.admin.get("/v1/experiments/yaml-judge/results")).json()
    assert found["decision"]["state"] == "keep_collecting"
    assert "insufficient_data" in found["decision"]["reasons"]
    goal = found["metrics"][0]
    assert (goal["role"], goal["estimate"], goal["interval"]) == ("goal", None, None)
    assert goal["gate"]["open"] is False
    assert [arm["arm"] for arm in found["arms"]] == ["primary", "canary"]
    missing = await api.admin.get("/v1/experiments/exp-none/results")
    assert missing.status_code == 404


async def test_a_projects_key_sees_only_its_own(api: Sidecar) -> None:
    mine = await api.experiment(project_id="mine")
    theirs = await api.experiment(project_id="theirs")
    key = await api.key(project_id="mine", scopes=["read", "operate"])
    async with api.client(key) as client:
        listed = (await client.get("/v1/experiments")).json()["items"]
        assert [item["id"] for item in listed] == [mine["id"]]
        for path in ("", "/events", "/results"):
            found = await client.get(f"/v1/experiments/{theirs['id']}{path}")
            assert found.status_code == 404
        assert (await client.post(f"/v1/experiments/{theirs['id']}/start")).status_code == 404
        body = {"group": "judge", "shares": HALF, "project_id": "theirs"}
        assert (await client.post("/v1/experiments", json=body)).status_code == 403
        params = {"project_id": "theirs"}
        assert (await client.get("/v1/experiments", params=params)).status_code == 403
        made = await client.post("/v1/experiments", json={"group": "judge", "shares": HALF})
        assert made.json()["project_id"] == "mine"
        await client.post(f"/v1/experiments/{made.json()['id']}/start")
    path = f"/v1/experiments/{made.json()['id']}/events"
    actors = {e["actor"] for e in (await api.admin.get(path)).json()["items"]}
    assert len(actors) == 1
    assert actors.pop().startswith("key:key-")
