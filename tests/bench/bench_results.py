"""How long does an experiment's result take, whatever the number of its calls?

    python -m tests.bench.bench_results [--big]

Prints `name: value` lines: the 95th percentile of 200 requests for the results over an
experiment of 1e5 and 1e6 calls, and of 1e7 with `--big` or `BIG=1` in the environment, which
takes a quarter of an hour and 10 GB of disk; and the sidecar's processor time for a look of
the controller at the largest. Ends with 1 when totals are not what the calls add up to.
"""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.service import totals
from sidecar.service.looking import look
from sidecar.store.database import create_engine, transaction
from sidecar.store.migrate import migrate
from tests.apis import Sidecar, sidecar
from tests.bench.filling import SHARES_BP, count, fill
from tests.bench.grounds import grounds
from tests.bench.measure import median, quantile
from tests.configurations import judge

SIZES = {"1e5": 10**5, "1e6": 10**6}
BIG = {"1e7": 10**7}
VERIFIED = "1e5"  # recounting once more takes as long as counting
REQUESTS = 200
LOOKS = 50
WARM_UP = 10


async def experiment(api: Sidecar) -> str:
    """Start an experiment and go up its ramp, one stage a share."""
    first, *later = [_shares(share_bp) for share_bp in SHARES_BP]
    plan = {"slow_ms": 900, "mode": "advise"}
    made = await api.experiment(shares=first, plan=plan)
    await api.do(made["id"], "start")
    for shares in later:
        answer = await api.admin.put(
            f"/v1/experiments/{made['id']}/shares", json={"shares": shares}
        )
        answer.raise_for_status()
    return str(made["id"])


def _shares(canary_bp: int) -> dict[str, float]:
    return {"primary": 1 - canary_bp / 10_000, "canary": canary_bp / 10_000}


async def ask_ms(api: Sidecar, experiment_id: str) -> float:
    """Measure one request for the results, from end to end."""
    began = time.perf_counter()
    answer = await api.admin.get(f"/v1/experiments/{experiment_id}/results")
    took = time.perf_counter() - began
    answer.raise_for_status()
    return took * 1000


async def look_cpu_ms(engine: AsyncEngine, experiment_id: str) -> float:
    """Measure this process's time on the processor for one look."""
    began = time.process_time()
    async with transaction(engine) as tx:
        if await look(tx, experiment_id, datetime.now(UTC)) is None:
            sys.exit(f"there was nothing to look at in {experiment_id}")
    return (time.process_time() - began) * 1000


async def is_exact(engine: AsyncEngine, experiment_id: str) -> bool:
    """Whether the totals are what the calls add up to."""
    async with transaction(engine) as tx:
        return not (await totals.verify(tx, experiment_id)).differences


async def measure(url: str, directory: Path, sizes: dict[str, int]) -> None:
    """Let one experiment grow, and ask for its results at every size."""
    async with AsyncExitStack() as stack:
        engine = create_engine(url)
        stack.push_async_callback(engine.dispose)
        await migrate(engine, now=datetime.now(UTC))
        settings: dict[str, Any] = {"roles": "admin,publish"}
        api = await stack.enter_async_context(sidecar(url, directory, judge(), **settings))
        experiment_id = await experiment(api)
        began_at, stored = datetime.now(UTC), 0
        for name, size in sizes.items():
            await fill(engine, experiment_id, range(stored, size), began_at)
            await count(engine, experiment_id)
            stored = size
            if name == VERIFIED and not await is_exact(engine, experiment_id):
                sys.exit("the totals are not what the calls add up to")
            took = [await ask_ms(api, experiment_id) for _ in range(REQUESTS)]
            print(
                f"results_p95_ms_{name}: {quantile(took, 0.95):.1f}",
                file=sys.__stdout__,
                flush=True,
            )
            print(f"results_p50_ms_{name}: {median(took):.1f}", file=sys.__stdout__, flush=True)
        looks = [await look_cpu_ms(engine, experiment_id) for _ in range(WARM_UP + LOOKS)]
        print(f"look_cpu_ms: {median(looks[WARM_UP:]):.1f}", file=sys.__stdout__)


def main() -> None:
    """Measure the sizes that were asked for."""
    is_big = "--big" in sys.argv[1:] or os.environ.get("BIG") == "1"
    with redirect_stdout(sys.stderr), grounds() as (url, directory):  # the sidecar's log
        asyncio.run(measure(url, directory, SIZES | (BIG if is_big else {})))


if __name__ == "__main__":
    main()
