"""Does bad input to plans, decisions and feedback end in a clear refusal that loses nothing?"""

import json
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.worker.control import Controller
from tests.apis import Sidecar
from tests.configurations import judge
from tests.controlled import QUICK, SHARES, decisions, shown, started, traffic

WHY = {"reason": "a test"}
NEVER = "call-that-never-was"


async def asked(
    api: Sidecar, method: str, path: str, body: Any = None, **more: Any
) -> tuple[int, dict[str, Any]]:
    """Ask the admin API; every answer is JSON."""
    answer = await api.admin.request(method, f"/v1/experiments/{path}", json=body, **more)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"goal": {"margin": 0}}, "plan.goal.margin"),
        ({"goal": {"margin": -0.03}}, "plan.goal.margin"),
        ({"goal": {"margin": True}}, "plan.goal.margin"),
        ({"goal": {"margin": "0.03"}}, "plan.goal.margin"),
        ({"ramp": [{"share": 0.5}, {"share": 0.2}]}, "rise from step to step"),
        ({"ramp": []}, "at least one step"),
        ({"ramp": [{"share": 1e-9}]}, "plan.ramp[0].share"),
        ({"ramp": [{"share": 0.5, "min_units": 10**400}]}, "min_units"),
        ({"goal": {"metric": "happiness"}}, "unknown"),
        ({"guardrails": [{"metric": "happiness"}]}, "bad_rate"),
        ({"horizon": {"max_duration_s": 0}}, "plan.horizon.max_duration_s"),
        ({"horizon": {"max_labelled": 0}}, "plan.horizon.max_labelled"),
        ({"horizon": {"max_duration_s": 60}}, "fit in it"),
        ({"labels": ["hot", "cold"]}, "as the group has it"),
        ({"task": "draft"}, "as the group has it"),
        ({"canaries": ["other"]}, "as the group has it"),
        ({"unit": "user"}, "as the group has it"),
        ({"alpha": 0}, "plan.alpha"),
        ({"mode": "yolo"}, "auto_rollback"),
        ({"nonsense": 1}, "nonsense"),
        ({"goal": []}, "plan.goal"),
        ({"goal": {"metric": "a\x00b"}}, "plan.goal.metric"),
        ({"goal": {"metric": "\ud800"}}, "plan.goal.metric"),
        ({"ramp": [{"share": 0.5, "min_units": 10**300}]}, "min_units"),
    ],
)
async def test_a_plan_that_makes_no_sense_is_refused_and_the_old_one_stays(
    judges: Sidecar, plan: dict[str, Any], says: str
) -> None:
    made = await judges.experiment()
    for method, path, body in (
        ("PUT", f"{made['id']}/plan", {"plan": plan}),
        ("POST", "", {"group": "judge", "shares": SHARES, "plan": plan}),
    ):
        # As a client may write it: escapes for what UTF-8 cannot hold.
        answer = await judges.admin.request(
            method,
            f"/v1/experiments/{path}".rstrip("/"),
            content=_json(body),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 422, answer.text
        assert says in answer.json()["detail"]
    assert await shown(judges, made["id"]) == made


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_number_that_is_none_is_refused(judges: Sidecar, number: str) -> None:
    made = await judges.experiment()
    body = f'{{"plan": {{"goal": {{"margin": {number}}}}}}}'
    answer = await judges.admin.put(
        f"/v1/experiments/{made['id']}/plan",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert (answer.status_code, answer.json()["status"]) == (422, 422)


async def test_without_shares_an_experiment_begins_at_the_first_step_of_its_ramp(
    judges: Sidecar,
) -> None:
    for body, share in (({}, 0.01), ({"plan": QUICK}, 0.2)):
        answer = await judges.admin.post("/v1/experiments", json={"group": "judge", **body})
        assert answer.json()["shares"] == {"primary": 1 - share, "canary": share}
    plan = {"ramp": [{"share": 0.5}, {"share": 0.2}]}
    answer = await judges.admin.post("/v1/experiments", json={"group": "judge", "plan": plan})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("promote", {}, 422, "reason"),
        ("promote", {"reason": ""}, 422, "reason"),
        ("promote", {"reason": "  "}, 422, "needs a reason"),
        ("promote", {"reason": "a\x00b"}, 422, "reason"),
        ("promote", {**WHY, "arm": "canary-9"}, 422, "name the canary to promote: canary"),
        ("promote", {**WHY, "arm": "primary"}, 422, "name the canary to promote: canary"),
        ("promote", {**WHY, "share": 1}, 422, "share"),
        ("rollback", {}, 422, "reason"),
        ("rollback", {"reason": "\n"}, 422, "needs a reason"),
        ("undo", {}, 422, "reason"),
        ("undo", WHY, 409, "no decision that could be undone"),
    ],
)
async def test_a_decision_that_cannot_be_changes_nothing(
    judges: Sidecar, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    experiment_id = await started(judges)
    before = await shown(judges, experiment_id)
    found, problem = await asked(judges, "POST", f"{experiment_id}/{path}", body)
    assert (found, problem["status"]) == (status, status)
    assert says in str(problem)
    assert await shown(judges, experiment_id) == before
    assert await decisions(judges, experiment_id) == []


@pytest.mark.parametrize("action", ["promote", "rollback", "undo"])
async def test_only_what_runs_can_be_decided(judges: Sidecar, action: str) -> None:
    draft = (await judges.experiment(plan=QUICK))["id"]
    assert (await asked(judges, "POST", f"{draft}/{action}", WHY))[0] == 409
    await judges.do(draft, "start")
    await judges.do(draft, "stop")
    status, problem = await asked(judges, "POST", f"{draft}/{action}", WHY)
    assert status == 409
    assert action == "undo" or "completed" in problem["detail"]
    [own] = (await judges.admin.get("/v1/experiments?owner=yaml")).json()["items"]
    assert (await asked(judges, "POST", f"{own['id']}/{action}", WHY))[0] == 409
    assert await decisions(judges, draft) == []
    plan = {"plan": QUICK}
    assert (await asked(judges, "PUT", f"{draft}/plan", plan))[0] == 409


async def test_a_rollback_is_not_undone_once_the_group_was_edited(judges: Sidecar) -> None:
    experiment_id = await started(judges)
    await judges.do(experiment_id, "rollback", **WHY)
    judges.write(judge(70, 30))
    await judges.when(lambda routes: routes["groups"]["judge"]["held_by"] is None)
    before = await shown(judges, experiment_id)
    assert (before["outcome"], before["held_arm"]) == ("rolled_back", None)
    status, problem = await asked(judges, "POST", f"{experiment_id}/undo", WHY)
    assert status == 409
    assert "holds no group" in problem["detail"]
    assert await shown(judges, experiment_id) == before


async def test_a_rollback_is_not_undone_while_another_owns_the_group(judges: Sidecar) -> None:
    first = await started(judges)
    await judges.do(first, "rollback", **WHY)
    second = await started(judges)
    status, problem = await asked(judges, "POST", f"{first}/undo", WHY)
    assert (status, second in problem["detail"]) == (409, True)
    assert (await judges.routes())["groups"]["judge"]["experiment_id"] == second
    await judges.do(second, "rollback", **WHY)
    # The second answer holds the group now, and the first is history.
    assert (await asked(judges, "POST", f"{first}/undo", WHY))[0] == 409
    await judges.do(second, "undo", **WHY)
    assert (await judges.routes())["groups"]["judge"]["experiment_id"] == second


@pytest.mark.parametrize("holdback", [{"share": 0.0, "hours": 0}, {"share": 0.05, "hours": 2}])
async def test_an_undone_promotion_gives_back_the_shares_before_it(
    judges: Sidecar, holdback: dict[str, float]
) -> None:
    experiment_id = await started(judges, holdback=holdback)
    await judges.do(experiment_id, "promote", **WHY)
    after = await judges.do(experiment_id, "undo", **WHY)
    assert (after["status"], after["outcome"], after["held_arm"]) == ("active", None, None)
    assert after["shares"] == SHARES
    assert [stage["stage"] for stage in after["stages"]][-1] == after["stage"]
    open_stages = [stage for stage in after["stages"] if stage["ended_at"] is None]
    assert len(open_stages) == 1


async def test_undoing_never_ends_a_pause(judges: Sidecar) -> None:
    experiment_id = await started(judges)
    await judges.do(experiment_id, "pause")
    await judges.do(experiment_id, "rollback", **WHY)
    after = await judges.do(experiment_id, "undo", **WHY)
    assert (after["status"], after["outcome"], after["shares"]) == ("paused", None, SHARES)
    resumed = await judges.do(experiment_id, "resume")
    assert (resumed["status"], resumed["stage"]) == ("active", 2)


async def test_an_etag_guards_every_change(judges: Sidecar) -> None:
    experiment_id = await started(judges)
    version = (await shown(judges, experiment_id))["version"]
    stale, fresh = {"If-Match": f'"{version - 1}"'}, {"If-Match": f'"{version}"'}
    changes = [
        ("PUT", "plan", {"plan": {**QUICK, "alpha": 0.01}}),
        ("POST", "promote", WHY),
        ("POST", "rollback", WHY),
        ("POST", "undo", WHY),
    ]
    for method, path, body in changes:
        status, problem = await asked(
            judges, method, f"{experiment_id}/{path}", body, headers=stale
        )
        assert (status, "version" in problem["detail"]) == (412, True), path
    answer = await judges.admin.post(
        f"/v1/experiments/{experiment_id}/rollback", json=WHY, headers=fresh
    )
    assert (answer.status_code, answer.headers["ETag"]) == (200, f'"{version + 1}"')


async def test_another_projects_key_finds_none_of_it(judges: Sidecar) -> None:
    experiment_id = await started(judges)
    scopes = ["read", "review", "operate"]
    reads = ["results", "epochs", "decisions", "looks", "verify", "audits", "events"]
    writes = ["promote", "rollback", "undo", "verify"]
    async with judges.client(await judges.key(scopes=scopes)) as other:
        path = f"/v1/experiments/{experiment_id}"
        found = {name: (await other.get(f"{path}/{name}")).status_code for name in reads}
        found |= {
            f"POST {name}": (await other.post(f"{path}/{name}", json=WHY)).status_code
            for name in writes
        }
        found["PUT plan"] = (await other.put(f"{path}/plan", json={"plan": {}})).status_code
    assert found == dict.fromkeys(found, 404)
    async with judges.client(await judges.key(scopes=["read"], project_id="default")) as reader:
        assert (await reader.get(f"{path}/decisions")).status_code == 200
        denied = [
            (await reader.post(f"{path}/{name}", json=WHY)).status_code for name in writes
        ]
        denied.append((await reader.put(f"{path}/plan", json={"plan": {}})).status_code)
        denied.append((await reader.get(f"{path}/audits")).status_code)
    assert set(denied) == {403}
    async with judges.client(None) as nobody:
        assert (await nobody.get(f"{path}/looks")).status_code == 401


async def test_feedback_for_a_call_that_never_was_is_refused(judges: Sidecar) -> None:
    body = {"source": "correction", "reviewer": "ann", "label": "maybe"}
    for call_id in (NEVER, "00000000-0000-0000-0000-000000000000", "\U0001f600"):
        answer = await judges.admin.post("/v1/feedback", json={**body, "call_id": call_id})
        assert answer.status_code in (404, 422), answer.text


@pytest.mark.parametrize("comment", ["a\x00b", "\ud800", "x" * 5_000, ""])
async def test_a_comment_that_cannot_be_kept_is_refused(
    judges: Sidecar, engine: AsyncEngine, comment: str
) -> None:
    [call] = await traffic(engine, await started(judges), primary=(1, 0))
    body = {"call_id": call.call_id, "source": "audit", "reviewer": "ann", "label": "maybe"}
    answer = await judges.admin.post(
        "/v1/feedback",
        content=_json({**body, "comment": comment}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422
    history = await judges.admin.get("/v1/feedback", params={"call_id": call.call_id})
    assert history.json()["items"] == []


@pytest.mark.parametrize(
    "path", ["decisions", "looks", "epochs", "verify", "results", "audits"]
)
async def test_an_odd_question_is_refused_and_never_an_error_of_ours(
    judges: Sidecar, path: str
) -> None:
    experiment_id = await started(judges)
    for query in ("epoch=0", "epoch=99", "epoch=x", "limit=0", "limit=1e9", "before=-1"):
        answer = await judges.admin.get(f"/v1/experiments/{experiment_id}/{path}?{query}")
        assert answer.status_code in (200, 404, 422), answer.text
    assert (await judges.admin.get(f"/v1/experiments/nope/{path}")).status_code == 404


async def test_decisions_come_in_pages_and_a_decision_by_hand_gets_its_generation(
    judges: Sidecar, controller: Controller
) -> None:
    experiment_id = await started(judges)
    generations = []
    for action in ("rollback", "undo", "rollback"):
        await judges.do(experiment_id, action, **WHY)
        generations.append((await judges.routes())["generation"])
    assert await controller.round()
    found = await decisions(judges, experiment_id)
    assert [each["generation"] for each in reversed(found) if each["action"].get("shares")] == [
        generations[0],
        generations[2],
    ]
    path = f"/v1/experiments/{experiment_id}/decisions"
    first = (await judges.admin.get(path, params={"limit": 2})).json()
    rest = (await judges.admin.get(path, params={"before": first["next"], "limit": 2})).json()
    assert [*first["items"], *rest["items"]] == found
    assert rest["next"] is None


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
