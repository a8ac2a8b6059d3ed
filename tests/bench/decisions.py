"""How long from a decision until the last worker routes by it?"""

import os
import tempfile
import threading
import time
from pathlib import Path

import httpx

from sidecar.up.stack import Plan, stack
from tests.bench.load import load
from tests.bench.measure import median
from tests.bench.system import project_key, slowest, small_plan

ROUNDS = 10
HOLDBACK = {"share": 0.02, "hours": 24}


def main() -> None:
    """Promote and undo under load, and time each until every worker has it."""
    with tempfile.TemporaryDirectory(prefix="signalops-bench-") as folder:
        quick = {"median": 5, "p95": 10}
        plan = small_plan(Path(folder), workers=2, judge="keyword", latency_ms=quick)
        with stack(plan, os.environ, threading.Event()) as running:
            key = project_key(running)
            headers = {"Authorization": f"Bearer {running.admin_key}"}
            with httpx.Client(base_url=running.sidecar_url, headers=headers) as admin:
                body = {"group": "judge", "plan": {"holdback": HOLDBACK}}
                made = admin.post("/v1/experiments", json=body).raise_for_status().json()
                path = f"/v1/experiments/{made['id']}"
                _timed(plan, admin, f"{path}/start")
                with load(running.proxy_url, key, threads=4) as seen:
                    times = [
                        _timed(plan, admin, f"{path}/{action}")
                        for _ in range(ROUNDS)
                        for action in ("promote", "undo")
                    ]
        print(f"decision_last_worker_p50_s: {median(times):.3f}")
        print(f"decision_last_worker_max_s: {max(times):.3f}")
        print(f"decision_errors: {len(seen.errors)}")


def _timed(plan: Plan, admin: httpx.Client, path: str) -> float:
    before = slowest(plan)
    asked = time.monotonic()
    admin.post(path, json={"reason": "to be timed"}).raise_for_status()
    while slowest(plan) <= before:
        time.sleep(0.002)
    return time.monotonic() - asked


if __name__ == "__main__":
    main()
