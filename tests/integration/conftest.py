"""What these tests stand on: a journal's volume, a home of its own, a laboratory.

The volume is as a proxy's workers leave it, with what the drain makes of it.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import CallRecord, Enrichment
from sidecar.handoff.journal import Journal
from sidecar.service.drain import Draining
from sidecar.service.volume import Volume
from sidecar.store.database import transaction
from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres
from sidecar.worker.control import Controller
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.controlled import Clock
from tests.embedded import common_ground
from tests.laboratories import Running, laboratory
from tests.records import judge_record


class Write(Protocol):
    """Journals lines in a segment of their own."""

    def __call__(
        self, lines: Sequence[CallRecord | Enrichment | bytes], *, seal: bool = True
    ) -> Path:
        """Return the segment; it stays open, as a living writer's, if it is not sealed."""


@pytest.fixture
def now() -> datetime:
    """The present: every migrated database has room for its month."""
    return datetime.now(UTC)


@pytest.fixture
def record(now: datetime) -> Callable[..., CallRecord]:
    """Makes records of answered judges' calls."""
    return lambda *values: judge_record(now, *values)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """The shared volume."""
    return Volume(tmp_path / "handoff")


@pytest.fixture
def write(volume: Volume) -> Write:
    """Writes segments; a writer each."""
    writers: list[Journal] = []  # kept: a journal that is forgotten is closed

    def write(lines: Sequence[CallRecord | Enrichment | bytes], *, seal: bool = True) -> Path:
        name = f"writer-{len(writers)}"
        writers.append(Journal(volume.journal, writer=name, segment_bytes=2**40))
        for line in lines:
            encoded = line if isinstance(line, bytes) else orjson.dumps(line.to_line())
            writers[-1].append(encoded)
        if seal:
            writers[-1].close()
        return volume.journal / f"{name}-00000001.jsonl"

    return write


@pytest.fixture
def draining(engine: AsyncEngine, volume: Volume, now: datetime) -> Draining:
    """What a drain works with."""
    return Draining(engine, volume, lambda: now)


@pytest.fixture
def rows(engine: AsyncEngine) -> Callable[..., Any]:
    """Runs a query: `await rows("SELECT ...")`."""

    async def query(statement: str) -> list[Any]:
        async with transaction(engine) as tx:
            return [tuple(row) for row in await tx.execute(text(statement))]

    return query


@pytest.fixture
def counts(rows: Callable[..., Any]) -> Callable[..., Any]:
    """Reads the counters that are not 0."""

    async def read() -> dict[str, int]:
        return dict(await rows("SELECT name, value FROM counters WHERE value <> 0"))

    return read


@pytest.fixture
def clock() -> Clock:
    """A time that tests move, a little after all that they store."""
    return Clock()


@pytest.fixture
async def judges(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    """A sidecar with a judge of two arms."""
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
def controller(engine: AsyncEngine, clock: Clock, judges: Sidecar) -> Controller:
    """A controller that looks when it is told to."""
    return Controller(
        engine, clock=clock, publish=judges.app.state.context.publisher.publish_now
    )


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that the embedded server's account may pass through."""
    with common_ground() as path:
        yield path


@pytest.fixture
def home(ground: Path) -> Home:
    """A home nobody has used yet."""
    return Home(ground / "home")


@pytest.fixture
def embedded(home: Home, ground: Path) -> Iterator[EmbeddedPostgres]:
    """The home's server, not started; stopped in the end."""
    server = EmbeddedPostgres(home, shelter=ground / "shelter")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Running]:
    """One laboratory for the session: its classifier takes seconds to train."""
    with laboratory() as one:
        yield one


@pytest.fixture
def lab(running_lab: Running) -> Running:
    """The laboratory, as it was when it started."""
    running_lab.controls.post("/lab/reset").raise_for_status()
    return running_lab
