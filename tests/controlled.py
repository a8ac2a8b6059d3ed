"""Experiments under the controller: quick plans, calls, labels, a clock that tests move."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.feedback import Source
from sidecar.service import feedback
from sidecar.service.feedback import Said
from sidecar.store.database import transaction
from sidecar.store.events import By
from tests.apis import Sidecar
from tests.measured import Made, new_id, store

QUICK = {
    "ramp": [
        {"share": 0.2, "min_units": 20, "min_time_s": 0},
        {"share": 0.5, "min_units": 20, "min_time_s": 0},
    ],
    "min_duration_s": 0,
    "audit": {"rate": 1.0},
    "holdback": {"share": 0.0, "hours": 0},
    "guardrails": [{"metric": "bad_rate", "max_ratio": 1.25}],
}
SHARES = {"primary": 0.8, "canary": 0.2}


class Clock:
    """Tells a time that tests move."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=5)  # after all that a test stores

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


async def started(api: Sidecar, **plan: Any) -> str:
    """Start an experiment with a plan that moves quickly."""
    made = await api.experiment(shares=SHARES, plan={**QUICK, **plan})
    await api.do(made["id"], "start")
    return str(made["id"])


async def traffic(
    engine: AsyncEngine, experiment_id: str, stage: int = 1, **by_arm: tuple[int, int]
) -> list[Made]:
    """Store calls of an experiment: so many by arm, and so many of these bad."""
    calls = [
        Made(
            experiment_id=experiment_id,
            stage=stage,
            arm=arm,
            unit_id=f"{arm}-{stage}-{number}",
            unit_source="call",
            outcome="failed_over" if number < bad else "served",
            label=None if number < bad else "relevant",
            audit_ppm=None if number < bad else 1_000_000,
            call_id=new_id(datetime.now(UTC)),
        )
        for arm, (total, bad) in by_arm.items()
        for number in range(total)
    ]
    async with transaction(engine) as tx:
        await store(tx, calls)
    return calls


async def labelled(engine: AsyncEngine, calls: list[Made], wrong: float) -> None:
    """Let a human label calls, such a part of them other than the model did."""
    by = By("tests", datetime.now(UTC))
    for number, call in enumerate(calls):
        is_wrong = int((number + 1) * wrong) > int(number * wrong)  # evenly spread
        label = "irrelevant" if is_wrong else "relevant"
        said = Said(call_id=call.call_id, source=Source.AUDIT, reviewer="ann", label=label)
        async with transaction(engine) as tx:
            await feedback.give(tx, said, project_id=None, by=by)


async def decisions(api: Sidecar, experiment_id: str) -> list[dict[str, Any]]:
    found = await api.admin.get(f"/v1/experiments/{experiment_id}/decisions")
    return list(found.raise_for_status().json()["items"])


async def shown(api: Sidecar, experiment_id: str) -> dict[str, Any]:
    found = await api.admin.get(f"/v1/experiments/{experiment_id}")
    return dict(found.raise_for_status().json())
