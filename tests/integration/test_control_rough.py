"""Does the controller go on when something breaks, and keep within what it may do?"""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import create_engine, transaction
from sidecar.up.postgres import EmbeddedPostgres
from sidecar.worker.control import Controller
from tests.apis import Sidecar, sidecar, until
from tests.configurations import judge
from tests.controlled import (
    QUICK,
    SHARES,
    Clock,
    decisions,
    labelled,
    shown,
    started,
    traffic,
)

BROKEN = {"primary": (40, 0), "canary": (10, 10)}


async def test_one_experiment_that_cannot_be_looked_at_does_not_stop_the_others(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    odd = await started(judges, mode="auto")
    arms = {"primary": ["spare-a"], "canary": ["draft-a"]}
    plan = {**QUICK, "mode": "auto_rollback"}
    made = await judges.experiment(group="spare", arms=arms, shares=SHARES, plan=plan)
    await judges.do(made["id"], "start")
    # The newer version of somebody who then went back to this one.
    async with transaction(engine) as tx:
        spoil = 'UPDATE experiments SET plan = \'{"of": "tomorrow"}\' WHERE id = :id'
        await tx.execute(text(spoil), {"id": odd})
    await traffic(engine, made["id"], **BROKEN)
    assert not await controller.round()
    assert "plan" in str(controller.status.error)
    assert (await shown(judges, made["id"]))["outcome"] == "rolled_back"


async def test_auto_rollback_neither_advances_nor_promotes(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto_rollback")
    await traffic(engine, experiment_id, primary=(80, 0), canary=(20, 0))
    assert await controller.round()
    body = {"shares": {"primary": 0.5, "canary": 0.5}}
    await judges.admin.put(f"/v1/experiments/{experiment_id}/shares", json=body)
    calls = await traffic(engine, experiment_id, stage=2, primary=(160, 0), canary=(160, 0))
    await labelled(engine, [call for call in calls if call.arm == "primary"], wrong=0.4)
    await labelled(engine, [call for call in calls if call.arm == "canary"], wrong=0.05)
    for _ in range(2):
        assert await controller.round()
    found = await decisions(judges, experiment_id)
    assert [(each["state"], each["action"]) for each in found] == [
        ("promote", {}),
        ("advance", {}),
    ]
    after = await shown(judges, experiment_id)
    assert (after["status"], after["shares"], after["stage"]) == ("active", body["shares"], 2)


@pytest.mark.parametrize("mode", ["advise", "auto_rollback"])
async def test_the_second_half_of_a_promotion_that_was_only_advised_is_not_taken(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock, mode: str
) -> None:
    ramp = [{"share": 0.5, "min_units": 20, "min_time_s": 0}]
    holdback = {"share": 0.1, "hours": 1}
    experiment_id = await started(judges, mode=mode, ramp=ramp, holdback=holdback)
    path = f"/v1/experiments/{experiment_id}/shares"
    await judges.admin.put(path, json={"shares": {"primary": 0.5, "canary": 0.5}})
    calls = await traffic(engine, experiment_id, stage=2, primary=(200, 0), canary=(200, 0))
    await labelled(engine, [call for call in calls if call.arm == "primary"], wrong=0.4)
    await labelled(engine, [call for call in calls if call.arm == "canary"], wrong=0.05)
    assert await controller.round()
    [advice] = await decisions(judges, experiment_id)
    assert (advice["state"], advice["action"]) == ("promote", {})
    # What a person gives it is that person's affair.
    wide = {"primary": 0.1, "canary": 0.9}
    (await judges.admin.put(path, json={"shares": wide})).raise_for_status()
    clock.forward(hours=2)
    assert await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["status"], after["shares"]) == ("active", wide)


async def test_the_breaker_closes_when_a_person_sets_shares(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto", guardrails=[])
    await traffic(engine, experiment_id, primary=(40, 20), canary=(5, 5))
    assert await controller.round()
    assert (await shown(judges, experiment_id))["shares"]["canary"] == 0
    body = {"shares": SHARES, "reason": "the provider is back"}
    path = f"/v1/experiments/{experiment_id}"
    (await judges.admin.put(f"{path}/shares", json=body)).raise_for_status()
    await traffic(engine, experiment_id, stage=3, primary=(40, 0), canary=(4, 4))
    assert await controller.round()
    assert (await shown(judges, experiment_id))["shares"] == SHARES
    results = (await judges.admin.get(f"{path}/results")).json()
    assert "circuit_breaker" not in results["decision"]["reasons"]


async def test_a_promoted_canary_that_breaks_in_its_holdback_stays_out(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    holdback = {"share": 0.1, "hours": 1}
    experiment_id = await started(judges, mode="auto", guardrails=[], holdback=holdback)
    await judges.do(experiment_id, "promote", reason="it reads better")
    # An outage of everything: no comparison would blame the canary.
    await traffic(engine, experiment_id, stage=2, primary=(5, 5), canary=(40, 40))
    for _ in range(4):
        assert await controller.round()
        clock.forward(hours=1)
    after = await shown(judges, experiment_id)
    assert (after["status"], after["shares"]["canary"]) == ("active", 0)
    acted = [each for each in await decisions(judges, experiment_id) if each["action"]]
    assert [each["reasons"] for each in acted] == [["circuit_breaker"], ["by_hand"]]
    back = await judges.do(experiment_id, "undo", reason="the outage is over")
    assert back["shares"]["canary"] == 0.9


async def test_shares_are_not_set_on_what_has_ended_and_a_promotion_by_hand_beats_advice(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges)
    await traffic(engine, experiment_id, **BROKEN)
    assert await controller.round()
    [advice] = await decisions(judges, experiment_id)
    assert (advice["state"], advice["action"]) == ("rollback", {})
    after = await judges.do(experiment_id, "promote", reason="the failures were ours")
    assert (after["outcome"], after["held_arm"]) == ("promoted", "canary")
    path = f"/v1/experiments/{experiment_id}/shares"
    refused = await judges.admin.put(path, json={"shares": SHARES})
    assert refused.status_code == 409
    for _ in range(2):
        assert await controller.round()
    assert (await shown(judges, experiment_id))["outcome"] == "promoted"


async def test_what_a_rollback_by_hand_led_to_is_noted_without_the_controllers_doing(
    judges: Sidecar, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges)
    await controller.round()
    await judges.do(experiment_id, "rollback", reason="no")
    clock.forward(seconds=6)
    assert await controller.round()
    [decision] = await decisions(judges, experiment_id)
    assert decision["generation"] == (await judges.routes())["generation"]


async def test_a_database_that_restarts_in_mid_round_only_delays(
    embedded: EmbeddedPostgres, tmp_path: Any, clock: Clock
) -> None:
    url = await asyncio.to_thread(embedded.start)
    async with sidecar(url, tmp_path, judge()) as judges:
        engine = create_engine(url)
        try:
            experiment_id = await started(judges, mode="auto")
            await traffic(engine, experiment_id, **BROKEN)
            publisher = judges.app.state.context.publisher
            controller = Controller(engine, clock=clock, publish=publisher.publish_now)
            async with engine.connect() as blocker:
                lock = "SELECT 1 FROM experiments WHERE id = :id FOR UPDATE"
                await blocker.execute(text(lock), {"id": experiment_id})
                round_ = asyncio.create_task(controller.round())
                await asyncio.sleep(0.5)
                await asyncio.to_thread(embedded.stop)
                assert not await round_
                await blocker.invalidate()
            assert controller.status.error
            await asyncio.to_thread(embedded.start)
            await until(controller.round)
            assert [d["state"] for d in await decisions(judges, experiment_id)] == ["rollback"]
        finally:
            await engine.dispose()
