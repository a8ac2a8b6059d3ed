"""A volume with a journal, as a proxy's workers leave it, and what the drain makes of it."""

from collections.abc import Callable, Sequence
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
