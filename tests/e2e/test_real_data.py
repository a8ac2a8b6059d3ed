"""Every labelled post of the real data, through the real client, twice."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import AsyncOpenAI

from sidecar.core.assignment import arm_of, bucket_of, ranges
from tests.e2e.calls import SURFACES
from tests.e2e.conftest import System, wait_for

POSTS = Path(__file__).parents[3] / "shared" / "data" / "relevance" / "posts.jsonl"
CONCURRENCY = 16

pytestmark = [
    pytest.mark.skipif(not POSTS.exists(), reason=f"the real posts are not at {POSTS}"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def posts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in POSTS.read_text().splitlines()]


async def judge_all(system: System, posts: list[dict[str, Any]]) -> dict[str, str]:
    """Have every post judged; gives the arm of each item."""
    arms: dict[str, str] = {}
    waiting = asyncio.Semaphore(CONCURRENCY)
    async with AsyncOpenAI(
        base_url=f"{system.running.proxy_url}/v1", api_key=system.key, max_retries=0
    ) as client:

        async def judge(post: dict[str, Any]) -> None:
            async with waiting:
                raw = await client.chat.completions.with_raw_response.create(
                    model="judge",
                    messages=[{"role": "user", "content": post["post_text"]}],
                    extra_headers={"x-signalops-unit": post["item_id"]},
                    extra_body={"metadata": {"pass": "real"}},
                )
            arms[post["item_id"]] = raw.headers["x-signalops-arm"]

        await asyncio.gather(*(judge(post) for post in posts))
    return arms


def stored(system: System) -> int:
    health = system.admin.get("/health/ready").raise_for_status().json()
    return int(health["reconciliation"]["stored"])


async def test_all_real_posts_twice_are_rows_with_sticky_arms(
    system: System, posts: list[dict[str, Any]]
) -> None:
    wait_for("earlier calls to be stored", lambda: _is_settled(system))
    before = stored(system)
    first = await judge_all(system, posts)
    second = await judge_all(system, posts)
    assert first == second, "units flipped"
    expected = ranges({"primary": 8_000, "canary": 2_000})
    assert first == {
        item: arm_of(bucket_of(item, salt="yaml-judge"), expected) for item in first
    }
    n, share = len(first), 0.2
    canary = list(first.values()).count("canary")
    assert abs(canary - n * share) < 3 * (n * share * (1 - share)) ** 0.5
    wait_for("every call to be stored", lambda: stored(system) - before == 2 * len(posts))
    assert _is_settled(system)


async def test_a_ramp_from_20_to_50_moves_no_real_unit_out(
    system: System, posts: list[dict[str, Any]]
) -> None:
    sample = posts[:600]
    before = await judge_all(system, sample)
    original = system.plan.config.read_text()
    try:
        system.edit(_half_and_half)
        after = await judge_all(system, sample)
    finally:
        system.edit(lambda config: config.update(yaml.safe_load(original)))
    left = [item for item in before if before[item] == "canary" and after[item] != "canary"]
    assert left == []
    assert list(after.values()).count("canary") > list(before.values()).count("canary")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
def test_a_sample_of_real_posts_is_rows_on_every_surface(
    system: System, posts: list[dict[str, Any]], surface: str, stream: bool
) -> None:
    expected = ranges({"primary": 8_000, "canary": 2_000})
    client = system.client()
    for post in posts[:40]:
        unit = post["item_id"]
        seen = SURFACES[surface](client, "judge", unit, stream=stream, text=post["post_text"])
        assert seen.status == 200
        assert seen.headers["x-signalops-arm"] == arm_of(
            bucket_of(unit, salt="yaml-judge"), expected
        )
    row = system.call(seen.call_id)
    assert (row["surface"], row["stream"], row["outcome"]) == (surface, stream, "served")
    assert row["answer"]["text"] == seen.text


def _half_and_half(config: dict[str, Any]) -> None:
    for entry in config["model_list"][:2]:
        entry["litellm_params"]["weight"] = 50


def _is_settled(system: System) -> bool:
    found = system.admin.get("/health/ready").json()["reconciliation"]
    return bool(found["served"] == found["journalled"] == found["stored"])
