"""What is lost when things are killed under load? `python -m tests.bench.chaos --rounds 20`.

Each round kills one thing with SIGKILL, in turn: a proxy worker, all of them, the sidecar,
PostgreSQL. Prints one `name: value` line a figure and exits with 1 when anything that the
client had acknowledged is missing or doubled, a request failed for want of the sidecar or
the database, or a call that was given an arm is no row: what a killed worker was at is one,
as `WorkerLost`.
"""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import httpx
import psutil

from sidecar.up.stack import Running, stack
from tests.bench.load import Load, load
from tests.bench.system import child, command_of, project_key, small_plan

OUTAGE_S = 2.0
RECOVERED_WITHIN_S = 90.0


@dataclass(frozen=True)
class Outcome:
    """What a run of rounds ended with; all but the first and the last are to be 0.

    Args:
        unrecorded: Calls that were given an arm, and are neither a row nor counted.
        worker_lost: Rows of calls that a killed worker was at.
    """

    acknowledged: int
    lost: int
    duplicated: int
    failed_by_us: int
    unrecorded: int
    worker_lost: int


def main() -> int:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    outcome = run(options.rounds, say=lambda text: print(text, file=sys.stderr))
    for name, value in asdict(outcome).items():
        print(f"{name}: {value}")
    bad = (outcome.lost, outcome.duplicated, outcome.failed_by_us, outcome.unrecorded)
    return 1 if any(bad) else 0


def run(rounds: int, *, say: Callable[[str], None]) -> Outcome:
    """Kill one thing a round under load, then compare what was acknowledged with the rows."""
    with tempfile.TemporaryDirectory(prefix="signalops-chaos-") as folder:
        quick = {"median": 5, "p95": 10}
        plan = small_plan(Path(folder), workers=2, judge="classifier", latency_ms=quick)
        with stack(plan, os.environ, threading.Event()) as running:
            key = project_key(running)
            failed_by_us = 0
            with load(running.proxy_url, key, threads=6) as seen:
                _wait("the load to begin", lambda: len(seen.acknowledged) > 20)
                kills = itertools.cycle(
                    [_kill_worker, _kill_workers, _kill_sidecar, _kill_postgres]
                )
                for number, kill in zip(range(rounds), kills, strict=False):
                    failed = _round(running, seen, kill)
                    failed_by_us += failed
                    say(f"round {number + 1} of {rounds}: {_name(kill)}, {failed} failed by us")
            rows = asyncio.run(_rows(running, set(seen.acknowledged)))
            return Outcome(
                acknowledged=len(seen.acknowledged),
                lost=len(set(seen.acknowledged) - set(rows)),
                duplicated=len(rows) - len(set(rows)),
                failed_by_us=failed_by_us,
                unrecorded=_unrecorded(running),
                worker_lost=asyncio.run(_worker_lost(running)),
            )


def _round(running: Running, seen: Load, kill: Callable[[], None]) -> int:
    """Kill, let the outage last, wait for recovery; gives the failures that are ours."""
    began = time.monotonic()
    before = len(seen.acknowledged)
    kill()
    time.sleep(OUTAGE_S)
    _wait("the proxy to answer again", lambda: len(seen.acknowledged) > before + 10)
    _wait("the sidecar to be ready again", lambda: _ready(running))
    # A dead worker's connections break, which no recorder can help; the other two are ours.
    ours = kill in (_kill_sidecar, _kill_postgres)
    return sum(1 for moment, _ in seen.errors if ours and moment >= began)


def _name(kill: Callable[[], None]) -> str:
    return kill.__name__.strip("_").replace("_", " ")


def _kill_worker() -> None:
    os.kill(_workers()[0].pid, signal.SIGKILL)


def _kill_workers() -> None:
    for process in [child("litellm"), *_workers()]:
        os.kill(process.pid, signal.SIGKILL)


def _kill_sidecar() -> None:
    os.kill(child("sidecar.api").pid, signal.SIGKILL)


def _kill_postgres() -> None:
    os.kill(child("postgres").pid, signal.SIGKILL)


def _workers() -> list[psutil.Process]:
    return [
        process
        for process in child("litellm").children()
        if "spawn_main" in " ".join(command_of(process))
    ]


async def _rows(running: Running, acknowledged: set[str]) -> list[str]:
    """Read the call ids that are stored, once nothing more arrives."""
    connection = await asyncpg.connect(running.database_url)
    try:
        deadline, found = time.monotonic() + RECOVERED_WITHIN_S, []
        while time.monotonic() < deadline:
            records = await connection.fetch("select call_id from calls")
            found = [record["call_id"] for record in records]
            if acknowledged <= set(found):
                break
            await asyncio.sleep(0.5)
        return found
    finally:
        await connection.close()


def _unrecorded(running: Running) -> int:
    """Count the calls that are nowhere, once the dead workers' traces are drained."""
    missing = 0
    for _ in range(int(RECOVERED_WITHIN_S)):
        found = _health(running).json()["reconciliation"]
        missing = found["decided"] - found["stored"] - found["quarantined"] - found["lost"]
        if missing == 0:
            break
        time.sleep(1)
    return int(missing)


async def _worker_lost(running: Running) -> int:
    connection = await asyncpg.connect(running.database_url)
    try:
        query = "select count(*) from calls where error_class = 'WorkerLost'"
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


def _health(running: Running) -> httpx.Response:
    key = {"Authorization": f"Bearer {running.admin_key}"}
    return httpx.get(f"{running.sidecar_url}/health/ready", headers=key, timeout=5)


def _ready(running: Running) -> bool:
    try:
        return _health(running).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _wait(what: str, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    while not check():
        if time.monotonic() > deadline:
            msg = f"not within {RECOVERED_WITHIN_S:g} s: {what}"
            raise TimeoutError(msg)
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
