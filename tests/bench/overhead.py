"""What does a request cost with everything on, over bare LiteLLM with the same YAML?

Two proxies of one worker each stand before the same laboratory and are asked in turn, pair
by pair, so that the machine's moods hit both. The ratio is of processor time a request.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import psutil
import yaml

from sidecar.up.stack import Plan, free_port, stack
from tests.bench.measure import cpu_s, median, memory_mb
from tests.bench.system import child, project_key, small_plan

PAIRS = 5
REQUESTS = 600
THREADS = 8


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="signalops-bench-") as folder:
        instant = {"median": 1, "p95": 2}
        plan = small_plan(Path(folder), workers=1, judge="keyword", latency_ms=instant)
        with (
            stack(plan, os.environ, threading.Event()) as running,
            _bare(Path(folder), plan) as (bare, bare_url),
        ):
            ours, sidecar = child("litellm"), child("sidecar.api")
            key = project_key(running)
            time.sleep(1)
            _ask(running.proxy_url, key, 200)
            _ask(bare_url, "sk-bare", 200)
            ratios, with_sidecar = [], []
            for _ in range(PAIRS):
                bare_s = _cost([bare], bare_url, "sk-bare")[0]
                ours_s, drain_s = _cost([ours, sidecar], running.proxy_url, key)
                ratios.append(ours_s / bare_s)
                with_sidecar.append((ours_s + drain_s) / bare_s)
            print(f"overhead_cpu_ratio: {median(ratios):.3f}")
            print(f"overhead_cpu_ratio_with_sidecar: {median(with_sidecar):.3f}")
            print(f"bare_cpu_ms_per_request: {bare_s / REQUESTS * 1000:.2f}")
            named = {
                "proxy": ours,
                "bare_proxy": bare,
                "sidecar": sidecar,
                "postgres": child("postgres"),
            }
            for name, process in named.items():
                print(f"memory_{name}_mb: {memory_mb(process):.0f}")


def _cost(processes: list[psutil.Process], url: str, key: str) -> list[float]:
    """Processor seconds of each process for one batch of requests."""
    before = [cpu_s(process) for process in processes]
    _ask(url, key, REQUESTS)
    time.sleep(1)  # what is done after the answer is part of the price
    return [cpu_s(p) - b for p, b in zip(processes, before, strict=True)]


def _ask(url: str, key: str, count: int) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def one(number: int) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="judge",
            messages=[{"role": "user", "content": f"Our site is down ({number})"}],
        )
        if raw.status_code != 200:
            msg = f"a request failed with {raw.status_code}"
            raise RuntimeError(msg)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(count)))


@contextmanager
def _bare(folder: Path, plan: Plan) -> Iterator[tuple[psutil.Process, str]]:
    """Run LiteLLM with the same YAML, less our two lines."""
    config = yaml.safe_load(plan.config.read_text())
    del config["litellm_settings"]["callbacks"], config["general_settings"]["custom_auth"]
    for entry in config["model_list"]:
        for name in ("arm", "task", "labels"):
            entry["model_info"].pop(name, None)
    path, port = folder / "bare.yaml", free_port()
    path.write_text(yaml.safe_dump(config))
    settings = {
        "LITELLM_MASTER_KEY": "sk-bare",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LAB_API_KEY": "laboratory",
    }
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(path)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with (folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_up(url):
            time.sleep(0.5)
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/liveliness").status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
