"""How long from saving an edit until the last worker routes by it?"""

import os
import tempfile
import threading
import time
from pathlib import Path

import yaml

from sidecar.up.stack import Plan, stack
from tests.bench.load import load
from tests.bench.measure import median
from tests.bench.system import project_key, slowest, small_plan

EDITS = 20


def main() -> None:
    """Edit weights under load, and time each edit."""
    with tempfile.TemporaryDirectory(prefix="signalops-bench-") as folder:
        quick = {"median": 5, "p95": 10}
        plan = small_plan(Path(folder), workers=2, judge="keyword", latency_ms=quick)
        with stack(plan, os.environ, threading.Event()) as running:
            key = project_key(running)
            time.sleep(1)
            with load(running.proxy_url, key, threads=4) as seen:
                times = [_edit(plan, 50 + number) for number in range(EDITS)]
        print(f"reload_last_worker_p50_s: {median(times):.3f}")
        print(f"reload_last_worker_max_s: {max(times):.3f}")
        print(f"reload_errors: {len(seen.errors)}")


def _edit(plan: Plan, weight: int) -> float:
    before = slowest(plan)
    config = yaml.safe_load(plan.config.read_text())
    config["model_list"][0]["litellm_params"]["weight"] = weight
    plan.config.write_text(yaml.safe_dump(config))
    saved = time.monotonic()
    while slowest(plan) <= before:
        time.sleep(0.002)
    return time.monotonic() - saved


if __name__ == "__main__":
    main()
