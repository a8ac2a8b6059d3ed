"""Real posts, people's labels, and a controller that must be right about four canaries."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.e2e.conftest import JUDGE, System, deployment, system_in, wait_for
from tests.e2e.test_real_data import POSTS
from tests.embedded import common_ground

pytestmark = [
    pytest.mark.skipif(not POSTS.exists(), reason=f"the real posts are not at {POSTS}"),
    pytest.mark.timeout(600),
]

TRAINING = 2_000  # posts that the tuned judge learns from; the others are judged
CANARIES = {
    "better": {"judge": "classifier"},
    "same": {"judge": "keyword"},
    "failing": {"judge": "keyword", "error_rate": 0.5, "error_kind": "500"},
    "worse": {"judge": "keyword", "accuracy_noise": 0.12, "seed": 7},
}
QUICK = {
    "mode": "auto",
    "min_duration_s": 0,
    "slow_ms": 4_000,
    "audit": {"rate": 1.0},
    "goal": {"metric": "agreement", "margin": 0.1},
    "horizon": {"max_labelled": 600},
    "holdback": {"share": 0, "hours": 0},
    "ramp": [
        {"share": 0.1, "min_units": 20, "min_time_s": 0},
        {"share": 0.5, "min_units": 60, "min_time_s": 0},
    ],
}


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended, and on how many calls of the canary."""

    outcome: str | None
    results: dict[str, Any]
    sent: int

    @property
    def canary_calls(self) -> int:
        return sum(arm["calls"] for arm in self.results["arms"] if arm["arm"] == "canary")


@pytest.fixture(scope="module")
def posts() -> list[dict[str, Any]]:
    found = [json.loads(line) for line in POSTS.read_text().splitlines()]
    random.Random(3).shuffle(found)  # noqa: S311 - an order, no secret
    return found


@pytest.fixture(scope="module")
def judges(posts: list[dict[str, Any]]) -> Iterator[System]:
    """A stack with a group for each canary, beside the same keyword judge."""
    with common_ground() as folder:
        train = folder / "train.jsonl"
        train.write_text("".join(json.dumps(post) + "\n" for post in posts[:TRAINING]))

        def extend(lab_url: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            quick = {"latency_ms": {"median": 2, "p95": 4}, "train_path": str(train)}
            entries = []
            for name in CANARIES:
                for arm in ("primary", "canary"):
                    model = "openai/lab-plain" if arm == "primary" else f"openai/lab-{name}"
                    more = {"arm": arm, "weight": 50, **JUDGE}
                    entries.append(deployment(name, f"{name}-{arm}", model, lab_url, **more))
            models = [{"name": "lab-plain", "judge": "keyword", **quick}]
            models += [{"name": f"lab-{n}", **how, **quick} for n, how in CANARIES.items()]
            return entries, models

        with system_in(folder, extend=extend) as system:
            yield system


def run(system: System, posts: list[dict[str, Any]], group: str, **plan: Any) -> Outcome:
    """Send posts, and label what the audit drew, until the experiment has ended."""
    labels = {post["post_text"]: post["label"] for post in posts}
    body = {"group": group, "plan": {**QUICK, **plan}}
    made = system.admin.post("/v1/experiments", json=body).raise_for_status().json()
    path = f"/v1/experiments/{made['id']}"
    system.admin.post(f"{path}/start", json={}).raise_for_status()
    system.settle()
    client, sent, results = system.client(), 0, {}

    def judge(post: dict[str, Any]) -> None:
        client.chat.completions.create(
            model=group,
            messages=[{"role": "user", "content": post["post_text"]}],
            extra_headers={"x-signalops-unit": post["item_id"]},
        )

    with ThreadPoolExecutor(8) as pool:
        while sent + 40 <= len(posts):
            # Slowly at first, as a canary's first minutes should be.
            batch = posts[sent : sent + (8 if sent < 160 else 40)]
            list(pool.map(judge, batch))
            sent += len(batch)
            wait_for("the calls' rows", partial(_if_stored, system, path, sent))
            _label(system, path, labels)
            results = wait_for("a look at them", partial(_if_looked, system, path))
            if results["status"] == "completed":
                break
    return Outcome(results["outcome"], results, sent)


def _if_stored(system: System, path: str, sent: int) -> dict[str, Any] | None:
    found = system.admin.get(f"{path}/results").raise_for_status().json()
    is_there = sum(arm["calls"] for arm in found["arms"]) >= sent
    return dict(found) if is_there or found["status"] == "completed" else None


def _if_looked(system: System, path: str) -> dict[str, Any] | None:
    """Wait until the controller would do nothing more about what is known."""
    found = system.admin.get(f"{path}/results").raise_for_status().json()
    is_pending = found["status"] == "active" and found["decision"]["automatic"]
    if not is_pending:
        system.settle()
    return None if is_pending else dict(found)


def _label(system: System, path: str, labels: dict[str, str]) -> None:
    """Answer the audit queue as people labelled the posts."""
    while items := system.admin.get(f"{path}/audits", params={"limit": 100}).json()["items"]:
        for item in items:
            assert not {"arm", "assigned_arm", "verdict_label"} & item.keys()
            said = item["request"]["messages"][-1]["content"]
            body = {"call_id": item["call_id"], "source": "audit", "reviewer": "people"}
            answer = system.admin.post("/v1/feedback", json={**body, "label": labels[said]})
            answer.raise_for_status()


def verified(system: System, outcome: Outcome) -> bool:
    """Whether the totals are what a recount of the rows finds."""
    path = f"/v1/experiments/{outcome.results['experiment_id']}/verify"
    return system.admin.get(path).raise_for_status().json()["differences"] == []


def test_a_canary_that_is_truly_better_is_promoted(
    judges: System, posts: list[dict[str, Any]], record_property: Any
) -> None:
    found = run(judges, posts[TRAINING:], "better")
    record_property("sent", found.sent)
    assert found.outcome == "promoted", found.results["decision"]
    goal = found.results["metrics"][0]
    assert goal["estimate"] > 0
    assert goal["interval"][0] > -0.1
    routed = {group["name"]: group for group in judges.routes()["groups"]}["better"]
    assert routed["arms"][0]["deployments"] == ["better-canary"]
    assert verified(judges, found)


def test_an_identical_canary_is_never_called_worse(
    judges: System, posts: list[dict[str, Any]]
) -> None:
    found = run(judges, posts[TRAINING:], "same")
    assert found.outcome in {"promoted", "inconclusive"}, found.results["decision"]
    assert verified(judges, found)


def test_a_canary_that_fails_half_its_calls_is_out_after_a_few_of_them(
    judges: System, posts: list[dict[str, Any]], record_property: Any
) -> None:
    found = run(judges, posts[TRAINING:], "failing")
    record_property("canary_calls", found.canary_calls)
    print(f"canary calls until share 0: {found.canary_calls}")  # noqa: T201
    assert found.outcome == "rolled_back", found.results["decision"]
    assert found.canary_calls <= 20
    routed = {group["name"]: group for group in judges.routes()["groups"]}["failing"]
    assert {arm["name"]: arm["share"] for arm in routed["arms"]} == {"primary": 1, "canary": 0}
    assert verified(judges, found)


def test_a_canary_with_subtly_worse_labels_is_never_promoted(
    judges: System, posts: list[dict[str, Any]]
) -> None:
    found = run(judges, posts[TRAINING:], "worse", goal={"metric": "agreement", "margin": 0.03})
    assert found.outcome in {"rolled_back", "inconclusive"}, found.results["decision"]
    assert found.results["held_arm"] == "primary"
    assert verified(judges, found)
