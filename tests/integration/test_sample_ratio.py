"""Is a sample-ratio fault found that was made on purpose, and none where there is none?"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.assignment import arm_of, bucket_of, ranges
from sidecar.core.calls import CallRecord
from sidecar.core.feedback import Source
from sidecar.service import feedback
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.feedback import Said
from sidecar.store.database import transaction
from sidecar.store.events import By
from sidecar.worker.control import Controller
from tests.apis import Sidecar
from tests.controlled import QUICK, decisions, shown
from tests.integration.conftest import Write

CALLS = 12_000
LABELLED = 180  # calls by arm
HALF = {"primary": 5_000, "canary": 5_000}
WRONG = {"primary": 4, "canary": 1}  # of ten labels
DRAWN = """
    SELECT call_id FROM calls WHERE is_drawn AND assigned_arm = '{}' ORDER BY call_id LIMIT {}
"""


def split(
    record: Callable[..., CallRecord], experiment_id: str, lose_every: int | None
) -> list[CallRecord]:
    """Make records as the proxy splits units, and lose a part of the canary's."""
    pieces = ranges(HALF)
    base = replace(record(), experiment_id=experiment_id, stage=1)
    found = []
    for number in range(CALLS):
        unit = f"unit-{number}"
        bucket = bucket_of(unit, salt="the same for every run")
        arm = arm_of(bucket, pieces)
        if arm == "canary" and lose_every is not None and number % lose_every == 0:
            continue
        other = record(unit)
        found.append(
            replace(
                base,
                call_id=other.call_id,
                unit_id=unit,
                bucket=bucket,
                assigned_arm=arm,
                served_arm=arm,
                share_bp=HALF[arm],
            )
        )
    return found


async def label(engine: AsyncEngine, rows: Callable[..., Any], now: Any) -> None:
    """Let people confirm the canary's answers more often than the primary's."""
    for arm, wrong in WRONG.items():
        for number, (call_id,) in enumerate(await rows(DRAWN.format(arm, LABELLED))):
            said = Said(
                call_id=str(call_id),
                source=Source.AUDIT,
                reviewer="ann",
                label="maybe" if number % 10 < wrong else "relevant",
            )
            async with transaction(engine) as tx:
                await feedback.give(tx, said, project_id=None, by=By("tests", now))


@pytest.mark.parametrize(
    ("lose_every", "states"),
    [
        pytest.param(10, ["invalid_srm"], id="lossy"),
        pytest.param(None, ["promote"], id="whole"),
    ],
)
async def test_a_better_canary_is_promoted_unless_some_of_its_records_are_gone(
    judges: Sidecar,
    controller: Controller,
    draining: Draining,
    write: Write,
    record: Callable[..., CallRecord],
    rows: Callable[..., Any],
    lose_every: int | None,
    states: list[str],
) -> None:
    ramp = [{"share": 0.5, "min_units": 100, "min_time_s": 0}]
    plan = {**QUICK, "mode": "auto", "ramp": ramp, "audit": {"rate": 0.1}}
    made = await judges.experiment(plan=plan)
    await judges.do(made["id"], "start")
    calls = split(record, made["id"], lose_every)
    await drain_segment(draining, write(calls))
    await label(draining.engine, rows, draining.now())
    for _ in range(2):
        assert await controller.round()
    assert [each["state"] for each in await decisions(judges, made["id"])] == states
    after = await shown(judges, made["id"])
    results = (await judges.admin.get(f"/v1/experiments/{made['id']}/results")).json()
    assert sum(arm["calls"] for arm in results["arms"]) == len(calls)
    if lose_every:
        assert (after["status"], after["shares"]["canary"]) == ("active", 0.5)
        srm = results["validity"]["srm"]
        assert (srm["status"], srm["log_e"] > srm["threshold_log_e"]) == ("mismatch", True)
    else:
        assert (after["outcome"], results["validity"]["srm"]["status"]) == ("promoted", "ok")
    verified = await judges.admin.get(f"/v1/experiments/{made['id']}/verify")
    assert verified.json()["differences"] == []
