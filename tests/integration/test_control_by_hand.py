"""Can people decide, overrule the controller, and change the plan?"""

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.worker.control import Controller
from tests.apis import Sidecar
from tests.controlled import QUICK, SHARES, Clock, decisions, shown, started, traffic


async def test_an_undone_rollback_gives_the_shares_back_and_the_controller_only_watches(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto")
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 10))
    await controller.round()
    after = await judges.do(experiment_id, "undo", reason="the provider was down for everyone")
    assert (after["status"], after["outcome"], after["shares"]) == ("active", None, SHARES)
    group = (await judges.routes())["groups"]["judge"]
    assert (group["experiment_id"], group["held_by"]) == (experiment_id, None)
    await traffic(engine, experiment_id, stage=2, primary=(40, 0), canary=(10, 10))
    await controller.round()
    assert (await shown(judges, experiment_id))["shares"] == SHARES
    [undone, rollback] = await decisions(judges, experiment_id)
    assert (undone["action"]["undoes"], rollback["undone_by"]) == (rollback["id"], undone["id"])
    again = await judges.admin.post(
        f"/v1/experiments/{experiment_id}/undo", json={"reason": "again"}
    )
    assert again.status_code == 409


async def test_a_promotion_by_hand_keeps_a_holdback_for_a_while(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges, holdback={"share": 0.05, "hours": 2})
    missing = await judges.admin.post(f"/v1/experiments/{experiment_id}/promote", json={})
    assert missing.status_code == 422
    after = await judges.do(experiment_id, "promote", reason="it reads better")
    assert after["shares"] == {"primary": 0.05, "canary": 0.95}
    refused = await judges.admin.put(
        f"/v1/experiments/{experiment_id}/shares", json={"shares": SHARES}
    )
    assert refused.status_code == 409
    clock.forward(hours=1)
    await controller.round()
    assert (await shown(judges, experiment_id))["status"] == "active"
    clock.forward(hours=1.1)
    await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["outcome"], after["held_arm"]) == ("promoted", "canary")


async def test_a_changed_plan_opens_an_epoch_and_the_old_one_stays_readable(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges)
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 0))
    body = {"plan": {**QUICK, "mode": "auto"}, "reason": "it may act"}
    changed = await judges.admin.put(f"/v1/experiments/{experiment_id}/plan", json=body)
    after = changed.raise_for_status().json()
    assert (after["epoch"], after["stage"]) == (2, 1)
    path = f"/v1/experiments/{experiment_id}"
    epochs = (await judges.admin.get(f"{path}/epochs")).json()
    assert [each["plan"]["mode"] for each in epochs] == ["advise", "auto"]
    old = (await judges.admin.get(f"{path}/results", params={"epoch": 1})).json()
    new = (await judges.admin.get(f"{path}/results")).json()
    assert [sum(arm["calls"] for arm in each["arms"]) for each in (old, new)] == [50, 0]
    assert (old["mode"], new["mode"]) == ("advise", "auto")
