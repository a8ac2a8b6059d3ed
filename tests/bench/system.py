"""A small stack to measure and to break: one judged group, two arms, quick models."""

import json
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from sidecar.handoff.gauges import read_workers
from sidecar.up.home import Home
from sidecar.up.stack import Plan, Running, free_port
from tests.e2e.conftest import JUDGE, deployment


def small_plan(folder: Path, *, workers: int, **behaviour: Any) -> Plan:
    """Lay a home and its configuration out in a folder.

    Args:
        behaviour: Of both models, as the laboratory takes it.
    """
    folder.chmod(0o711)  # as root the database runs as another user
    lab_port = free_port()
    url = f"http://127.0.0.1:{lab_port}"
    models, config = folder / "models.json", folder / "proxy_config.yaml"
    models.write_text(json.dumps([{"name": name, **behaviour} for name in ("one", "two")]))
    arms = [("primary", "openai/one", 80), ("canary", "openai/two", 20)]
    settings = {
        "model_list": [
            deployment("judge", f"judge-{arm}", model, url, weight=weight, arm=arm, **JUDGE)
            for arm, model, weight in arms
        ],
        "litellm_settings": {"callbacks": ["callbacks.handler"], "telemetry": False},
        "general_settings": {
            "custom_auth": "callbacks.auth",
            "disable_model_info_refresh": True,
        },
    }
    config.write_text(yaml.safe_dump(settings))
    return Plan(
        home=Home(folder / "home"),
        config=config,
        proxy_port=free_port(),
        sidecar_port=free_port(),
        workers=workers,
        lab_port=lab_port,
        lab_models=models,
    )


def project_key(running: Running) -> str:
    """Make a key that may call models."""
    made = httpx.post(
        f"{running.sidecar_url}/v1/keys",
        json={"project_id": "bench", "scopes": ["infer"]},
        headers={"Authorization": f"Bearer {running.admin_key}"},
    )
    return str(made.raise_for_status().json()["key"])


def child(word: str) -> psutil.Process:
    """Find the child of this process that runs something, and nobody else's."""
    return next(
        process
        for process in psutil.Process().children()
        if any(word in {part, Path(part).name} for part in command_of(process)[:4])
    )


def command_of(process: psutil.Process) -> list[str]:
    """Give a process's command line; one that has just died has none."""
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


def slowest(plan: Plan) -> int:
    """The generation of the worker that is furthest behind."""
    workers = read_workers(plan.home.handoff / "workers")
    return min(worker.values["generation"] for worker in workers if worker.alive)
