"""The real processes: PostgreSQL, sidecar, LiteLLM proxy with 2 workers, laboratory."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openai import OpenAI

from sidecar.up.home import Home
from sidecar.up.stack import Plan, Running, free_port, stack
from tests.embedded import common_ground

PATIENCE_S = 30.0
JUDGE = {"task": "judge", "labels": ["relevant", "irrelevant", "maybe"]}


def wait_for(what: str, check: Callable[[], Any]) -> Any:
    """Ask again until the answer is true; say what was waited for when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.1)
    pytest.fail(f"not within {PATIENCE_S:g} s: {what}")


@dataclass
class System:
    """A running stack, and what a test does with it."""

    running: Running
    plan: Plan
    admin: httpx.Client
    lab: httpx.Client
    key: str

    def client(self, key: str | None = None, **options: Any) -> OpenAI:
        options.setdefault("max_retries", 0)
        options.setdefault("timeout", 60)
        return OpenAI(
            base_url=f"{self.running.proxy_url}/v1", api_key=key or self.key, **options
        )

    def set_fault(self, model: str, **changes: Any) -> None:
        self.lab.patch(f"/lab/models/{model}", json=changes).raise_for_status()

    def requests_of(self, model: str) -> int:
        """Count what reached the provider for a model."""
        models = self.lab.get("/lab/requests").raise_for_status().json()["models"]
        return int(sum(models.get(model, {}).values()))

    def latest_call(self, group: str) -> str:
        """Name the newest stored call of a group; empty when there is none."""
        query = {"group": group, "limit": 1}
        items = self.admin.get("/v1/calls", params=query).raise_for_status().json()["items"]
        return str(items[0]["call_id"]) if items else ""

    def routes(self) -> dict[str, Any]:
        return dict(self.admin.get("/v1/routes").raise_for_status().json())

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the YAML and wait until every worker routes by it."""
        before = self.routes()["generation"]
        config = yaml.safe_load(self.plan.config.read_text())
        change(config)
        self.plan.config.write_text(yaml.safe_dump(config))
        wait_for("a new generation", lambda: self.routes()["generation"] > before)
        self.settle()

    def settle(self) -> None:
        """Wait until every living worker runs the latest generation."""

        def settled() -> bool:
            routes = self.routes()
            alive = [worker for worker in routes["workers"] if worker["alive"]]
            return bool(alive) and all(
                worker["generation"] == routes["generation"] for worker in alive
            )

        wait_for("every worker on the latest generation", settled)

    def call(self, call_id: str) -> dict[str, Any]:
        """Read a call's row, once it is there."""

        def found() -> dict[str, Any] | None:
            answer = self.admin.get(f"/v1/calls/{call_id}")
            return dict(answer.json()) if answer.status_code == 200 else None

        return dict(wait_for(f"the row of call {call_id}", found))


def deployment(group: str, name: str, model: str, lab_url: str, **more: Any) -> dict[str, Any]:
    """Write one entry of a model_list."""
    params = {"model": model, "api_base": f"{lab_url}/v1", "api_key": "os.environ/LAB_API_KEY"}
    weight = more.pop("weight", None)
    return {
        "model_name": group,
        "litellm_params": params | ({} if weight is None else {"weight": weight}),
        "model_info": {"id": name, **more},
    }


def config_of(lab_url: str) -> dict[str, Any]:
    """Write the configuration that the tests begin with."""
    fine_tuned = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"
    return {
        "model_list": [
            deployment(
                "judge", "judge-primary", "openai/lab-judge-small", lab_url, weight=80, **JUDGE
            ),
            deployment(
                "judge",
                "judge-canary",
                "openai/lab-judge-tuned",
                lab_url,
                weight=20,
                arm="canary",
                **JUDGE,
            ),
            deployment("faulty", "faulty-primary", "openai/good", lab_url, weight=50, **JUDGE),
            deployment(
                "faulty",
                "faulty-canary",
                "openai/bad",
                lab_url,
                weight=50,
                arm="canary",
                **JUDGE,
            ),
            deployment("dead", "dead-primary", "openai/dead", lab_url, weight=100, **JUDGE),
            deployment(
                "dead", "dead-canary", "openai/good", lab_url, weight=0, arm="canary", **JUDGE
            ),
            deployment("echo", "echo-1", "openai/lab-echo", lab_url),
            deployment("embed", "embed-1", "openai/lab-embed", lab_url),
            deployment("reply", "reply-1", "openai/lab-drafter", lab_url, task="draft"),
            deployment(fine_tuned, "direct-ft", f"openai/{fine_tuned}", lab_url, **JUDGE),
        ],
        "litellm_settings": {
            "callbacks": ["callbacks.handler"],
            "telemetry": False,
            "request_timeout": 4,
        },
        "general_settings": {
            "custom_auth": "callbacks.auth",
            "disable_model_info_refresh": True,
        },
        "router_settings": {"num_retries": 2, "cooldown_time": 1},
    }


def behaviours(train_path: Path | None) -> list[dict[str, Any]]:
    """Describe the laboratory's models; quick ones, for there are thousands of calls."""
    quick = {"latency_ms": {"median": 2, "p95": 4}}
    training = {} if train_path is None else {"train_path": str(train_path)}
    judge = {"judge": "classifier", **quick}
    return [
        {"name": "lab-judge-small", "judge": "keyword", **quick, **training},
        {"name": "lab-judge-tuned", **judge, **training},
        {"name": "ft:gpt-4o-mini-2024-07-18:signalops::lab1", **judge},
        {"name": "good", **judge},
        {"name": "bad", **judge, "hang_s": 10},
        {"name": "dead", **judge, "error_rate": 1.0, "error_kind": "500"},
        {"name": "lab-echo", "judge": "echo", **quick},
        {"name": "lab-drafter", "judge": "draft", **quick},
        {"name": "lab-parrot", "judge": "echo", **quick},
        {"name": "lab-embed", "judge": "embed", **quick},
    ]


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    with common_ground() as folder, system_in(folder) as found:
        yield found


@contextmanager
def system_in(
    folder: Path,
    *callbacks: str,
    workers: int = 2,
    extend: Callable[[str], tuple[list[dict[str, Any]], list[dict[str, Any]]]] | None = None,
    **environment: str,
) -> Iterator[System]:
    """Run a stack of its own, with further callbacks and variables if need be.

    Args:
        extend: Gives further deployments and laboratory models, given the laboratory's URL.
    """
    lab_port = free_port()
    lab_url = f"http://127.0.0.1:{lab_port}"
    models, config = folder / "models.json", folder / "proxy_config.yaml"
    values = config_of(lab_url)
    deployments, judges = extend(lab_url) if extend else ([], [])
    values["model_list"] += deployments
    models.write_text(json.dumps([*behaviours(None), *judges]))
    values["litellm_settings"]["callbacks"] += callbacks
    config.write_text(yaml.safe_dump(values))
    plan = Plan(
        home=Home(folder / "home"),
        config=config,
        proxy_port=free_port(),
        sidecar_port=free_port(),
        lab_port=lab_port,
        lab_models=models,
        workers=workers,
    )
    stop = threading.Event()
    with stack(plan, os.environ | environment, stop) as running:
        headers = {"Authorization": f"Bearer {running.admin_key}"}
        with (
            httpx.Client(base_url=running.sidecar_url, headers=headers, timeout=30) as admin,
            httpx.Client(base_url=lab_url, timeout=30) as lab,
        ):
            made = admin.post(
                "/v1/keys", json={"project_id": "tests", "scopes": ["infer", "read"]}
            )
            key = made.raise_for_status().json()["key"]
            found = System(running, plan, admin, lab, key)
            found.settle()
            yield found
            check_totals(found)


def check_totals(system: System) -> None:
    """Recount the rows of every experiment, once the drain has come to rest."""

    def undrained() -> int:
        health = system.admin.get("/health/ready").raise_for_status().json()
        return int(health["reconciliation"]["undrained_bytes"])

    wait_for("a drain at rest", lambda: undrained() == 0)
    listed = system.admin.get("/v1/experiments", params={"limit": 500}).raise_for_status()
    for each in listed.json()["items"]:
        path = f"/v1/experiments/{each['id']}"
        for epoch in range(1, each["epoch"] + 1):
            found = system.admin.get(f"{path}/verify", params={"epoch": epoch})
            wrong = found.raise_for_status().json()["differences"]
            assert wrong == [], f"totals of {each['id']}, epoch {epoch}, are wrong"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests in one worker: one stack at a time is all that two cores carry."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("stack"))
