"""Does the controller see what is there, act as the plan allows, and act once?"""

import asyncio
import signal
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import transaction
from sidecar.worker.control import Controller
from tests.apis import Sidecar
from tests.controlled import SHARES, Clock, decisions, labelled, shown, started, traffic


async def test_a_canary_that_fails_is_rolled_back_and_stays_so(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto_rollback")
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 6))
    assert await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["status"], after["outcome"]) == ("completed", "rolled_back")
    assert after["held_arm"] == "primary"
    group = (await judges.routes())["groups"]["judge"]
    assert group["held_by"] == experiment_id
    assert {arm["name"]: arm["share"] for arm in group["arms"]} == {"primary": 1, "canary": 0}
    [decision] = await decisions(judges, experiment_id)
    assert decision["state"] == "rollback"
    assert decision["reasons"] == ["guardrail:bad_rate"]
    assert decision["plan_hash"] == after["plan_hash"]
    assert decision["generation"] == (await judges.routes())["generation"]
    assert decision["numbers"]["log_e"]["bad_rate"] > 2
    # Looking on changes nothing.
    assert await controller.round()
    assert len(await decisions(judges, experiment_id)) == 1


async def test_a_good_canary_climbs_its_ramp_and_is_promoted(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto")
    first = await traffic(engine, experiment_id, primary=(80, 0), canary=(20, 0))
    await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["shares"]["canary"], after["stage"]) == (0.5, 2)
    second = await traffic(engine, experiment_id, stage=2, primary=(160, 0), canary=(160, 0))
    arms = {arm: [c for c in first + second if c.arm == arm] for arm in ("primary", "canary")}
    await labelled(engine, arms["primary"], wrong=0.4)
    await labelled(engine, arms["canary"], wrong=0.1)
    await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["outcome"], after["held_arm"]) == ("promoted", "canary")
    serving = (await judges.routes())["groups"]["judge"]["arms"][0]
    assert (serving["name"], serving["deployments"]) == ("primary", ["judge-b"])
    states = [each["state"] for each in await decisions(judges, experiment_id)]
    assert states == ["promote", "advance"]
    results = await judges.admin.get(f"/v1/experiments/{experiment_id}/results")
    goal = results.raise_for_status().json()["metrics"][0]
    assert goal["estimate"] > 0.2
    assert goal["labelled"] == {"primary": 240, "canary": 180}
    looks = await judges.admin.get(f"/v1/experiments/{experiment_id}/looks")
    assert looks.json()[-1]["numbers"]["state"] == "promote"


async def test_advice_is_noted_once_and_changes_nothing(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges)
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 10))
    for _ in range(3):
        await controller.round()
        clock.forward(seconds=20)
    [decision] = await decisions(judges, experiment_id)
    assert (decision["state"], decision["action"]) == ("rollback", {})
    after = await shown(judges, experiment_id)
    assert (after["status"], after["shares"]) == ("active", SHARES)


async def test_the_breaker_opens_before_statistics_can(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    guardrails = [{"metric": "bad_rate", "max_ratio": 20}]
    experiment_id = await started(judges, mode="auto", guardrails=guardrails)
    await traffic(engine, experiment_id, primary=(40, 20), canary=(5, 5))
    await controller.round()
    after = await shown(judges, experiment_id)
    assert (after["status"], after["shares"]) == ("active", {"primary": 1, "canary": 0})
    [decision] = await decisions(judges, experiment_id)
    assert (decision["state"], decision["reasons"]) == ("hold", ["circuit_breaker"])


async def test_a_sample_ratio_fault_ends_invalid_and_a_guardrail_stays_armed(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto")
    await traffic(engine, experiment_id, primary=(400, 0), canary=(30, 0))
    await controller.round()
    results = (await judges.admin.get(f"/v1/experiments/{experiment_id}/results")).json()
    assert results["decision"]["state"] == "invalid_srm"
    assert results["validity"]["srm"]["status"] == "mismatch"
    assert (await shown(judges, experiment_id))["shares"] == SHARES
    await traffic(engine, experiment_id, primary=(40, 0), canary=(12, 12))
    await controller.round()
    assert (await shown(judges, experiment_id))["outcome"] == "rolled_back"


async def test_a_clock_set_back_holds_and_never_moves_forward(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges, mode="auto")
    await controller.round()
    await traffic(engine, experiment_id, primary=(80, 0), canary=(20, 0))
    clock.forward(hours=-3)
    await controller.round()
    after = await shown(judges, experiment_id)
    assert after["shares"] == SHARES
    [decision] = await decisions(judges, experiment_id)
    assert decision["state"] == "hold"
    assert "clock_set_back" in decision["reasons"]


async def test_of_two_controllers_one_acts(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges, mode="auto")
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 10))
    other = Controller(engine, clock=clock)
    assert all(await asyncio.gather(controller.round(), other.round()))
    assert [each["state"] for each in await decisions(judges, experiment_id)] == ["rollback"]
    assert controller.status.actions + other.status.actions == 1


LOOK = """
import asyncio, sys
from datetime import UTC, datetime
from sidecar.store.database import create_engine
from sidecar.worker.control import Controller

async def main():
    engine = create_engine(sys.argv[1], statement_timeout_s=60)
    controller = Controller(engine, clock=lambda: datetime.now(UTC))
    print("ready", flush=True)
    await controller.round()

asyncio.run(main())
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def test_a_controller_killed_in_mid_decision_leaves_nothing_and_the_next_decides_once(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, database_url: str
) -> None:
    experiment_id = await started(judges, mode="auto")
    await traffic(engine, experiment_id, primary=(40, 0), canary=(10, 10))
    async with engine.connect() as blocker:
        # It has kept its look and holds its turn when it comes to the experiment's row.
        await blocker.execute(
            text("SELECT 1 FROM experiments WHERE id = :id FOR UPDATE"), {"id": experiment_id}
        )
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", LOOK, database_url)
        async with asyncio.timeout(30):
            while True:
                async with transaction(engine) as tx:
                    if (await tx.execute(text(WAITING))).scalar_one():
                        break
                await asyncio.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        await blocker.rollback()
    assert await decisions(judges, experiment_id) == []
    async with asyncio.timeout(30):
        while not await decisions(judges, experiment_id):
            await controller.round()
    [decision] = await decisions(judges, experiment_id)
    assert decision["state"] == "rollback"
    stages = (await shown(judges, experiment_id))["stages"]
    assert [stage["stage"] for stage in stages] == [1]
