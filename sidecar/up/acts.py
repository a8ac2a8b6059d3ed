"""What happens in the demo? Two experiments, watched until the controller has decided.

Posts go through the `openai` client, a reviewer answers the audit queue from the sample's
own labels, and every decision is printed when it is made.
"""

import asyncio
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from openai import APIError, AsyncOpenAI
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sidecar.core.errors import Unavailable
from sidecar.up.laboratory.posts import SYSTEM_PROMPT, Post

CONCURRENCY = 8
BATCH = 16
STORED_WITHIN_S = 60.0
POLL_S = 0.1
AUDITS_AT_ONCE = 100

# A demo has minutes where an experiment has days, and labels every call.
QUICK = {
    "mode": "auto",
    "min_duration_s": 0,
    "audit": {"rate": 1.0},
    "slow_ms": 2_000,
    "holdback": {"share": 0, "hours": 0},
}


@dataclass(frozen=True, slots=True)
class Act:
    """One experiment of the demo.

    Args:
        arms: Deployments or models by arm; empty for those of the YAML.
        plan: On top of `QUICK`.
    """

    title: str
    hypothesis: str
    arms: Mapping[str, Sequence[str]]
    plan: Mapping[str, object]


BETTER = Act(
    title="Act 1: a tuned judge as canary",
    hypothesis="the tuned judge agrees with people at least as often",
    arms={},
    plan={
        "ramp": [
            {"share": 0.2, "min_units": 20, "min_time_s": 0},
            {"share": 0.5, "min_units": 60, "min_time_s": 0},
        ]
    },
)
BROKEN = Act(
    title="Act 2: the next release fails half of its calls",
    hypothesis="the next release is as good",
    arms={"primary": ["judge-canary"], "canary": ["judge-next"]},
    plan={
        "ramp": [
            {"share": 0.2, "min_units": 50, "min_time_s": 0},
            {"share": 0.5, "min_units": 50, "min_time_s": 0},
        ]
    },
)


@dataclass(slots=True)
class Played:
    """How an act went.

    Args:
        sent: Posts. `failed`: those that were answered by an error.
        state: Of the experiment at its end: `promoted`, `rolled_back`, or its status.
    """

    experiment_id: str
    sent: int = 0
    failed: int = 0
    state: str = "active"


@dataclass(slots=True)
class Stage:
    """Where an act is played.

    Args:
        proxy: The client of whoever asks. `admin`: of whoever runs the experiment.
        sample: Posts with their labels; sent again and again when it runs out.
        most: Posts to send at most in an act.
    """

    proxy: AsyncOpenAI
    admin: httpx.Client
    console: Console
    stop: threading.Event
    sample: Sequence[Post]
    most: int
    numbers: Any = field(default_factory=itertools.count)

    async def play(self, act: Act) -> Played:
        """Run an experiment until it has ended, or the posts are used up.

        Raises:
            Unavailable: Calls do not arrive in the database.
        """
        self.console.rule(act.title)
        made = self._start(act)
        await self._until_routed()
        played = Played(made["id"])
        told: set[int] = set()
        with Progress(
            BarColumn(), TextColumn("{task.description}"), console=self.console
        ) as progress:
            task = progress.add_task("", total=self.most)
            while played.sent < self.most and not self.stop.is_set():
                count = min(BATCH, self.most - played.sent)
                played.failed += await self._send(count)
                played.sent += count
                await self._until_stored(played)
                self._review(played.experiment_id)
                # The controller looks twice a second.
                await asyncio.sleep(0.5)
                found = self._results(played.experiment_id)
                self._tell(played.experiment_id, told)
                progress.update(task, completed=played.sent, description=_line(found))
                played.state = found["outcome"] or found["status"]
                if found["status"] == "completed":
                    break
        return played

    def _start(self, act: Act) -> dict[str, Any]:
        body = {
            "group": "judge",
            "arms": act.arms,
            "hypothesis": act.hypothesis,
            "plan": {**QUICK, **act.plan},
        }
        made = self._post("/v1/experiments", body)
        return self._post(f"/v1/experiments/{made['id']}/start", {"reason": "the demo"})

    async def _until_routed(self) -> None:
        """Wait until every worker of the proxy routes by the experiment."""
        while True:
            workers = [w for w in self._get("/v1/routes")["workers"] if w["alive"]]
            if workers and all(worker["is_current"] for worker in workers):
                return
            await asyncio.sleep(POLL_S)

    async def _send(self, count: int) -> int:
        """Have posts judged; returns how many were answered by an error."""
        waiting = asyncio.Semaphore(CONCURRENCY)

        async def judge(number: int) -> bool:
            async with waiting:
                try:
                    await self.proxy.chat.completions.create(
                        model="judge",
                        messages=[
                            {"role": "system", "content": SYSTEM_PROMPT},
                            {"role": "user", "content": self._post_of(number).post_text},
                        ],
                        extra_headers={"x-signalops-unit": f"post-{number}"},
                    )
                except APIError:
                    return False
                return True

        numbers = [next(self.numbers) for _ in range(count)]
        return (await asyncio.gather(*map(judge, numbers))).count(False)

    def _post_of(self, number: int) -> Post:
        return self.sample[number % len(self.sample)]

    async def _until_stored(self, played: Played) -> None:
        """Wait until every call that was sent is a row.

        Raises:
            Unavailable: Some are not, after a minute.
        """
        stored = 0
        for _ in range(int(STORED_WITHIN_S / POLL_S)):
            found = self._results(played.experiment_id)
            stored = sum(arm["calls"] for arm in found["arms"])
            # What was sent while the experiment ended belongs to none.
            if stored >= played.sent or found["status"] == "completed":
                return
            await asyncio.sleep(POLL_S)
        msg = f"{stored} of {played.sent} calls are stored after {STORED_WITHIN_S:g} s"
        raise Unavailable(msg)

    def _review(self, experiment_id: str) -> None:
        """Answer the audit queue: what a person would say, by the sample's own labels."""
        labels = {post.post_text: post.label for post in self.sample}
        path = f"/v1/experiments/{experiment_id}/audits"
        items = self._get(path, limit=AUDITS_AT_ONCE)["items"]
        for item in items:
            said = item["request"]["messages"][-1]["content"]
            body = {
                "call_id": item["call_id"],
                "source": "audit",
                "reviewer": "demo",
                "label": labels[said],
            }
            self._post("/v1/feedback", body)

    def _tell(self, experiment_id: str, told: set[int]) -> None:
        """Print the decisions that are new."""
        items = self._get(f"/v1/experiments/{experiment_id}/decisions")["items"]
        for decision in reversed([each for each in items if each["id"] not in told]):
            told.add(decision["id"])
            shares = decision["action"].get("shares", {})
            canary = f", canary at {shares['canary']:.0%}" if shares else ""
            self.console.print(
                f"  {decision['state']}{canary}: {decision['numbers']['text']}",
                highlight=False,
            )

    def _results(self, experiment_id: str) -> dict[str, Any]:
        return self._get(f"/v1/experiments/{experiment_id}/results")

    def _get(self, path: str, **query: Any) -> dict[str, Any]:  # noqa: ANN401
        return dict(self.admin.get(path, params=query).raise_for_status().json())

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        return dict(self.admin.post(path, json=body).raise_for_status().json())


def _line(found: Mapping[str, Any]) -> str:
    """Say in one line how an experiment stands."""
    goal = found["metrics"][0]
    labels = sum(goal["labelled"].values())
    calls = {arm["arm"]: arm["calls"] for arm in found["arms"]}
    parts = [
        f"canary {found['stage']['canary_share']:.0%}",
        f"{calls['primary']} + {calls['canary']} calls",
        f"{labels:.0f} labels",
    ]
    if goal["interval"] is not None:
        low, high = (100 * end for end in goal["interval"])
        parts.append(f"agreement {100 * goal['estimate']:+.1f} pp ({low:+.1f} to {high:+.1f})")
    return " | ".join([*parts, found["decision"]["state"]])
