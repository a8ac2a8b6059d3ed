"""Does every odd experiment have results: plain JSON, no NaN, and no error of ours?"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.service import totals
from sidecar.store.database import transaction
from sidecar.worker.control import Controller
from tests.apis import Sidecar
from tests.controlled import QUICK, Clock, decisions, labelled, shown, started
from tests.measured import Made, new_id, store

MANY = 1_000_000
BATCH = 100_000
EDGES: dict[str, dict[str, Any]] = {
    "all failures": {"outcome": "failed", "label": None, "confidence": None, "served_by": None},
    "no verdict": {"label": None, "confidence": None, "failure": "no_json"},
    "no confidence": {"confidence": None},
    "full confidence": {"confidence": 1.0},
    "no confidence at all in it": {"confidence": 0.0},
    "unknown cost": {"cost_usd": None, "prompt_tokens": None, "completion_tokens": None},
    "no cost": {"cost_usd": 0.0},
    "no time": {"latency_ms": 0.0, "ttft_ms": 0.0},
    "all time": {"latency_ms": 1e9, "ttft_ms": 1e9},
    "one unit": {"unit_id": "the only one"},
    "drawn by a hair": {"audit_ppm": 1},
    "never drawn": {"audit_ppm": None, "is_drawn": False},
    "an unknown label": {"label": "\U0001f525"},
    "diverted": {"outcome": "diverted"},
}
GUARDS = [
    {"metric": "bad_rate", "max_ratio": 1},
    {"metric": "slow_share", "max_ratio": 20},
    {"metric": "disagreements", "max_ratio": 1.25},
    {"metric": "cost", "margin": 0.1},
]


async def told(api: Sidecar, experiment_id: str) -> dict[str, Any]:
    """Fetch results that a strict reader of JSON understands."""
    answer = await api.admin.get(f"/v1/experiments/{experiment_id}/results")
    assert answer.status_code == 200, answer.text

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    return dict(json.loads(answer.text, parse_constant=refuse))


def calls(experiment_id: str, arms: dict[str, int], **more: Any) -> list[Made]:
    now = datetime.now(UTC)
    return [
        Made(
            **{
                "experiment_id": experiment_id,
                "arm": arm,
                "unit_id": f"{arm}-{number}",
                "call_id": new_id(now),
                **more,
            }
        )
        for arm, count in arms.items()
        for number in range(count)
    ]


async def put(engine: AsyncEngine, found: list[Made]) -> list[Made]:
    async with transaction(engine) as tx:
        await store(tx, found)
    return found


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "arms",
    [
        pytest.param({"primary": 60}, id="canary-empty"),
        pytest.param({"canary": 60}, id="primary-empty"),
        pytest.param({"primary": 60, "canary": 60}, id="both"),
    ],
)
async def test_an_edge_has_results_and_looks(
    judges: Sidecar,
    engine: AsyncEngine,
    controller: Controller,
    edge: str,
    arms: dict[str, int],
) -> None:
    plan = {"mode": "auto", "guardrails": GUARDS, "slow_ms": 100.0}
    experiment_id = await started(judges, **plan)
    found = await put(engine, calls(experiment_id, arms, **EDGES[edge]))
    drawn = [call for call in found if call.is_drawn]
    await labelled(engine, drawn[:5] + drawn[-5:], wrong=0.0)
    assert await controller.round(), controller.status.error
    results = await told(judges, experiment_id)
    assert {arm["arm"]: arm["calls"] for arm in results["arms"]} == {
        "primary": 0,
        "canary": 0,
        **arms,
    }
    path = f"/v1/experiments/{experiment_id}"
    assert (await judges.admin.get(f"{path}/verify")).json()["differences"] == []
    [look] = (await judges.admin.get(f"{path}/looks")).json()
    assert (await judges.admin.get(f"{path}/looks?epoch=99")).status_code == 404
    assert look["numbers"]["state"] == results["decision"]["state"] or results["outcome"]


@pytest.mark.parametrize("wrong", [0.0, 1.0], ids=["all right", "all wrong"])
async def test_labels_of_one_kind_alone_decide_nothing_by_a_division_by_zero(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, wrong: float
) -> None:
    experiment_id = await started(judges)
    found = calls(experiment_id, {"primary": 60, "canary": 60}, audit_ppm=1_000_000)
    await labelled(engine, await put(engine, found), wrong=wrong)
    assert await controller.round()
    results = await told(judges, experiment_id)
    goal = results["metrics"][0]
    assert goal["labelled"] == {"primary": 60, "canary": 60}
    # There is no case of the rarer answer, so the gate is closed.
    assert (goal["interval"], goal["verdict"]) == (None, "insufficient_data")
    quality = [metric for metric in results["metrics"] if metric["name"] == "quality"]
    assert {each["agreement"]["value"] for each in quality} == {1 - wrong}


async def test_a_million_calls_of_one_unit_are_one_unit(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto")
    [primary, canary] = calls(experiment_id, {"primary": 1, "canary": 1}, cost_usd=10.0)
    batch = [primary.facts] * BATCH
    async with transaction(engine) as tx:
        await totals.apply(tx, [], [canary.facts])
        for _ in range(MANY // BATCH):
            await totals.apply(tx, [], batch)
    assert await controller.round(), controller.status.error
    results = await told(judges, experiment_id)
    [arm, _] = results["arms"]
    assert (arm["calls"], arm["units"]) == (MANY, 1)
    assert arm["latency_ms"]["p50"] == pytest.approx(412.5, rel=0.05)
    assert arm["cost_usd"] == pytest.approx(10 * MANY, rel=1e-9)
    assert results["decision"]["state"] == "keep_collecting"


async def test_a_stage_without_a_share_has_results(
    judges: Sidecar, engine: AsyncEngine, controller: Controller
) -> None:
    experiment_id = await started(judges, mode="auto")
    path = f"/v1/experiments/{experiment_id}/shares"
    for number, canary in enumerate((0.0, 1.0, 0.0), start=2):
        body = {"shares": {"primary": 1 - canary, "canary": canary}}
        (await judges.admin.put(path, json=body)).raise_for_status()
        # A call that was on its way when the shares changed counts for its own stage.
        late = {"primary": 50, "canary": 2} if number != 3 else {"primary": 2, "canary": 50}
        await put(engine, calls(experiment_id, late, stage=number))
    assert await controller.round(), controller.status.error
    results = await told(judges, experiment_id)
    assert [stage["arms"][1]["share"]["designed"] for stage in results["stages"]] == [
        0.2,
        0.0,
        1.0,
        0.0,
    ]


async def test_three_canaries_are_compared_and_one_is_promoted_by_hand(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    arms = {"primary": ["judge-a"], "c1": ["judge-b"], "c2": ["spare-a"], "c3": ["draft-a"]}
    shares = {"primary": 0.4, "c1": 0.2, "c2": 0.2, "c3": 0.2}
    plan = {**QUICK, "holdback": {"share": 0.1, "hours": 2}}
    made = await judges.experiment(arms=arms, shares=shares, plan=plan)
    refused = await judges.admin.put(
        f"/v1/experiments/{made['id']}/plan", json={"plan": {**plan, "mode": "auto"}}
    )
    assert refused.status_code == 422
    await judges.do(made["id"], "start")
    await put(engine, calls(made["id"], {"primary": 80, "c1": 40, "c2": 40}))
    assert await controller.round(), controller.status.error
    assert [each["arm"] for each in (await told(judges, made["id"]))["decisions"]] == [
        "c1",
        "c2",
        "c3",
    ]
    promote = f"/v1/experiments/{made['id']}/promote"
    unnamed = await judges.admin.post(promote, json={"reason": "best"})
    assert (unnamed.status_code, "c1, c2, c3" in unnamed.json()["detail"]) == (422, True)
    after = await judges.do(made["id"], "promote", reason="best", arm="c2")
    assert after["shares"] == {"primary": 0.1, "c1": 0, "c2": 0.9, "c3": 0}
    clock.forward(hours=3)
    assert await controller.round(), controller.status.error
    after = await shown(judges, made["id"])
    assert (after["outcome"], after["held_arm"]) == ("promoted", "c2")
    assert await told(judges, made["id"])


async def test_a_call_from_the_future_holds_what_moves_forward(
    judges: Sidecar, engine: AsyncEngine, controller: Controller, clock: Clock
) -> None:
    experiment_id = await started(judges, mode="auto")
    future = new_id(datetime.now(UTC) + timedelta(hours=5))
    found = calls(experiment_id, {"primary": 80, "canary": 20})
    found.append(Made(experiment_id=experiment_id, call_id=future, unit_id="ahead"))
    await put(engine, found)
    assert await controller.round(), controller.status.error
    [decision] = await decisions(judges, experiment_id)
    assert (decision["state"], decision["reasons"]) == ("hold", ["clock_set_back"])
    clock.forward(hours=5)
    assert await controller.round(), controller.status.error
    assert (await shown(judges, experiment_id))["shares"]["canary"] == 0.5
