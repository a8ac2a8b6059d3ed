"""How fast does a dataset of a million pairs leave, and how much memory does that take?

    python -m tests.bench.export

Prints `name: value` lines. `export_over_copy` is the export's rows per second, over HTTP into
a file that is safe on the disk, over those of `COPY (SELECT the same columns) TO STDOUT
(FORMAT binary)` into another such file: the median of pairs that were measured by turns. The
text form of COPY is slower. `export_peak_mb` is what the sidecar's memory grows by at most.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import psutil

from sidecar.cli.downloads import Downloads
from sidecar.store.database import create_engine
from sidecar.store.migrate import migrate
from sidecar.up.stack import free_port
from tests.bench.grounds import grounds
from tests.bench.measure import median, memory_mb

PAIRS = 1_000_000
ROUNDS = 3
KEY = "so-admin-of-the-bench"
LOOK_EVERY_S = 0.02

_FILL = """
    INSERT INTO dataset_rows (number, position, split, call_id, prompt, chosen, rejected)
    SELECT $1, i - 1, 'train', 'call-' || i,
        convert_to('[{"role":"system","content":"You answer customers of a shop in a friendly '
            || 'tone, and briefly."},{"role":"user","content":"' || repeat('Order ' || i ||
            ': where is my parcel? I have waited for it since last week. ', 2)
            || '"}]', 'UTF8'),
        convert_to('"' || repeat('Good answer ' || i || ' says when it comes. ', 8) || '"',
            'UTF8'),
        convert_to('"' || repeat('Bad answer ' || i || ' says nothing much. ', 6) || '"',
            'UTF8')
    FROM generate_series(1, $2::int) i
    """
_DATASET = """
    INSERT INTO datasets (id, hash, project_id, kind, spec, manifest, created_at, created_by)
    VALUES ('ds-bench', 'bench', 'default', 'dpo', '{}',
        jsonb_build_object('rows', jsonb_build_object('train', $1::int)), now(), 'bench')
    RETURNING number
    """
_COPY = """
    SELECT prompt, tools, chosen, rejected, is_good FROM dataset_rows
    WHERE number = $1 AND split = 'train' ORDER BY position
    """


class Peak:
    """The most memory that a process tree had while it was watched."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.most_mb = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again until the block ends."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_EVERY_S):
                try:
                    self.most_mb = max(self.most_mb, memory_mb(self.process))
                except psutil.NoSuchProcess:  # a child that has just ended
                    continue

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


async def fill(url: str, pairs: int) -> int:
    """Make the dataset; returns its number."""
    engine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    await engine.dispose()
    connection = await asyncpg.connect(url)
    number: int = await connection.fetchval(_DATASET, pairs)
    await connection.execute(_FILL, number, pairs)
    await connection.execute("VACUUM ANALYZE dataset_rows")
    await connection.close()
    return number


async def copy(url: str, number: int, path: Path) -> None:
    """Write the same columns with COPY."""
    connection = await asyncpg.connect(url)
    with path.open("wb") as file:
        await connection.copy_from_query(_COPY, number, output=file, format="binary")
        file.flush()
        os.fsync(file.fileno())
    await connection.close()


@contextmanager
def serving(url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run the admin API in a process of its own."""
    port = free_port()
    config = folder / "proxy_config.yaml"
    config.write_text("model_list: []\n")
    environment = os.environ | {
        "SIGNALOPS_DATABASE_URL": url,
        "SIGNALOPS_ADMIN_KEY": KEY,
        "SIGNALOPS_HOME": str(folder / "bench-home"),
        "SIGNALOPS_CONFIG_PATH": str(config),
        "SIGNALOPS_PORT": str(port),
        "SIGNALOPS_ROLES": "admin",
    }
    process = subprocess.Popen([sys.executable, "-m", "sidecar.api"], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(address):
            if process.poll() is not None:
                msg = f"the sidecar ended with {process.returncode}"
                raise RuntimeError(msg)
            time.sleep(0.1)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    """Whether the API is up."""
    try:
        return httpx.get(f"{address}/health/live").is_success
    except httpx.TransportError:
        return False


def timed(act: Callable[[], object]) -> float:
    """Say how many seconds something takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measure(url: str, folder: Path, pairs: int) -> None:
    """Export and copy by turns."""
    number = asyncio.run(fill(url, pairs))
    with serving(url, folder) as (address, process):
        api = Downloads(address, KEY)

        def export(form: str = "trl-dpo") -> None:
            path = "/v1/datasets/ds-bench/export"
            saved = api.save(path, folder / "export", lambda _: lambda _: None, format=form)
            assert saved.rows == pairs

        idle = memory_mb(process)
        peak, ratios, speeds = Peak(process), [], []
        for _ in range(ROUNDS):
            copied = timed(lambda: asyncio.run(copy(url, number, folder / "copy")))
            with peak.watched():
                exported = timed(export)
            ratios.append(copied / exported)
            speeds.append(pairs / exported)
        print(f"export_over_copy: {median(ratios):.2f}")
        print(f"export_rows_per_s: {median(speeds):.0f}")
        print(f"export_peak_mb: {peak.most_mb - idle:.1f}")
        table = Peak(process)
        with table.watched():
            took = timed(lambda: export("parquet"))
        print(f"export_parquet_rows_per_s: {pairs / took:.0f}")
        print(f"export_parquet_peak_mb: {table.most_mb - idle:.1f}")


def main() -> None:
    """Measure in a database of its own, and leave nothing behind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=PAIRS)
    pairs = parser.parse_known_args()[0].pairs
    with grounds() as (url, folder):
        measure(url, folder, pairs)


if __name__ == "__main__":
    main()
