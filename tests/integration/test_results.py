"""Do the results say what the calls say, and is every served call accounted for?"""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert

from sidecar.core.assignment import PRIMARY
from sidecar.core.calls import Answer, CallRecord, Outcome
from sidecar.core.errors import NotFound
from sidecar.core.report import Results
from sidecar.core.results import ArmResult, Percentiles
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.results import results
from sidecar.service.volume import Volume
from sidecar.store import tables
from sidecar.store.database import transaction
from tests.integration.conftest import Write

Make = Callable[..., CallRecord]
EXPERIMENT = "yaml-judge"


@pytest.fixture
async def experiment(draining: Draining, now: datetime) -> None:
    """An experiment in its second stage, after 10 % at 50 %, with an arm nobody gets."""
    stages = [{"canary": 1000, PRIMARY: 9000}, {"canary": 5000, PRIMARY: 5000, "idle": 0}]
    async with transaction(draining.engine) as tx:
        await tx.execute(
            insert(tables.experiments).values(
                id=EXPERIMENT, group_name="judge", project_id="default", owner="yaml",
                salt=EXPERIMENT, arms={}, share_bp=stages[1], status="active", epoch=1,
                stage=2, version=1, created_at=now, started_at=now,
            )
        )  # fmt: skip
        for number, shares in enumerate(stages, start=1):
            await tx.execute(
                insert(tables.stages).values(
                    experiment_id=EXPERIMENT, epoch=1, stage=number, share_bp=shares,
                    started_at=now, ended_at=now if number == 1 else None,
                )
            )  # fmt: skip


async def ask(draining: Draining, volume: Volume, **values: Any) -> Results:
    async with transaction(draining.engine) as tx:
        now = draining.now()
        return await results(tx, EXPERIMENT, handoff=volume.root, now=now, **values)


def arm(arms: Any, name: str) -> ArmResult:
    found: ArmResult
    (found,) = (result for result in arms if result.arm == name)
    return found


@pytest.mark.usefixtures("experiment")
async def test_an_experiment_without_calls_has_every_arm_with_zeros_and_nulls(
    draining: Draining, volume: Volume
) -> None:
    found = await ask(draining, volume)
    assert (found.experiment_id, found.group, found.status) == (EXPERIMENT, "judge", "active")
    # It was begun before there were plans.
    assert (found.decision, found.plan_hash, found.generation) == (None, None, None)
    assert [result.arm for result in found.arms] == [PRIMARY, "canary", "idle"]
    assert [stage.stage for stage in found.stages] == [1, 2]
    for result in (*found.arms, *(result for stage in found.stages for result in stage.arms)):
        assert (result.calls, result.units, result.calls_of_unknown_cost) == (0, 0, 0)
        assert result.latency_ms == result.ttft_ms == Percentiles(None, None, None)
        assert (result.cost_usd, result.prompt_tokens, result.cached_tokens) == (None,) * 3
        assert (result.share.of_units, result.share.of_calls) == (None, None)
    assert arm(found.stages[0].arms, "canary").share.designed == 0.1
    assert arm(found.arms, "idle").share.designed == 0


@pytest.mark.usefixtures("experiment")
async def test_calls_are_summed_up_by_arm_and_by_stage(
    draining: Draining, volume: Volume, write: Write, record: Make
) -> None:
    base = replace(record(), latency_ms=100.0)
    calls = [
        replace(record("u-1"), latency_ms=100.0, stage=1),
        replace(record("u-1"), latency_ms=200.0, stage=2),
        replace(record("u-2"), latency_ms=300.0, stage=2, cost_usd=None, ttft_ms=50.0),
        replace(
            record("call-7"),
            latency_ms=400.0,
            stage=2,
            unit_source="call",
            answer=Answer(text="no JSON"),
            cached_tokens=None,
        ),
        replace(
            record("u-3"),
            stage=2,
            assigned_arm="canary",
            served_arm=PRIMARY,
            outcome=Outcome.FAILED_OVER,
        ),
        replace(
            record("u-4"),
            stage=2,
            assigned_arm="canary",
            served_deployment=None,
            outcome=Outcome.FAILED,
            status=504,
            error_class="Timeout",
            cost_usd=None,
            prompt_tokens=None,
            completion_tokens=None,
            cached_tokens=None,
        ),
        replace(base, experiment_id="exp-another"),
        replace(base, call_id=record().call_id, epoch=2),
        replace(base, call_id=record().call_id, experiment_id=None),
    ]
    await drain_segment(draining, write(calls))
    found = await ask(draining, volume)
    primary = arm(found.arms, PRIMARY)
    assert (primary.calls, primary.units, primary.sticky_units) == (4, 4, 3)
    assert primary.outcomes == {"served": 4}
    assert primary.labels == {"relevant": 3}
    assert primary.verdict_failures == {"invalid_output": 1}
    assert primary.served_by == {"judge-a": 4}
    latency = (primary.latency_ms.p50, primary.latency_ms.p95, primary.latency_ms.p99)
    assert latency == pytest.approx((200, 400, 400), rel=0.02)
    assert primary.ttft_ms.p95 == pytest.approx(50, rel=0.02)
    assert (primary.prompt_tokens, primary.completion_tokens) == (1280, 160)
    assert primary.cached_tokens == 0
    assert primary.cost_usd == pytest.approx(0.00093)
    assert primary.calls_of_unknown_cost == 1
    assert primary.share.of_calls == pytest.approx(4 / 6)
    assert primary.share.of_units == pytest.approx(4 / 6)  # u-1 counts in both stages
    assert primary.share.designed == pytest.approx((0.9 * 1 + 0.5 * 5) / 6)
    canary = arm(found.arms, "canary")
    assert canary.outcomes == {"failed": 1, "failed_over": 1}
    assert canary.verdict_failures == {"timeout": 1}
    assert canary.served_by == {"judge-a": 1}
    assert arm(found.arms, "idle").calls == 0


@pytest.mark.usefixtures("experiment")
async def test_the_stages_add_up_to_the_total(
    draining: Draining, volume: Volume, write: Write, record: Make
) -> None:
    calls = [
        replace(record(f"u-{n}"), stage=1 + n % 3, assigned_arm=("canary", PRIMARY)[n % 2])
        for n in range(24)
    ]
    await drain_segment(draining, write(calls))
    found = await ask(draining, volume)
    assert [stage.stage for stage in found.stages] == [1, 2, 3]  # the third is not on record
    for total in found.arms:
        parts = [arm(stage.arms, total.arm) for stage in found.stages]
        assert total.calls == sum(part.calls for part in parts) == total.units
        assert total.outcomes.get("served", 0) == total.calls
        assert total.labels.get("relevant", 0) == total.calls
    assert arm(found.stages[2].arms, PRIMARY).share.designed is None


@pytest.mark.usefixtures("experiment")
async def test_a_result_is_plain_data(draining: Draining, volume: Volume) -> None:
    assert asdict(await ask(draining, volume))["decision"] is None


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"epoch": 2}, id="an epoch that has not begun"),
        pytest.param({"epoch": 0}, id="no epoch"),
        pytest.param({"project_id": "another"}, id="another project's"),
    ],
)
async def test_what_is_not_there_is_not_found(
    draining: Draining, volume: Volume, asked: dict[str, Any]
) -> None:
    with pytest.raises(NotFound):
        await ask(draining, volume, **asked)


async def test_an_unknown_experiment_is_not_found(draining: Draining, volume: Volume) -> None:
    with pytest.raises(NotFound, match=EXPERIMENT):
        await ask(draining, volume)


@pytest.mark.usefixtures("experiment")
async def test_the_generation_is_the_one_published_last(
    draining: Draining, volume: Volume, now: datetime
) -> None:
    async with transaction(draining.engine) as tx:
        for number in (1, 3, 2):
            await tx.execute(
                insert(tables.generations).values(
                    number=number, hash="", routes={}, published_at=now
                )
            )
    assert (await ask(draining, volume)).generation == 3
