"""A build that is broken off in the middle leaves nothing, and can be repeated."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.apis import sidecar, until
from tests.builders import Builder, Rows
from tests.configurations import judge

ROOT = Path(__file__).parents[2]
WAITING = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO datasets%'"""
LEFT = """
    SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'
    UNION ALL SELECT 'dataset' FROM datasets UNION ALL SELECT 'row' FROM dataset_rows"""


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        found = Builder(api, engine, tmp_path, now, rows)
        await found.edit(await found.drafts(40))
        yield found


@asynccontextmanager
async def stopped_builds(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Let builds come to the point where they would store what they have made."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE datasets IN SHARE MODE")
            yield connection
    finally:
        await connection.close()


def nothing_is_left(people: Builder) -> Callable[[], object]:
    async def look() -> bool:
        return await people.rows(LEFT) == []

    return look


async def test_a_killed_process_leaves_nothing_of_its_build(
    people: Builder, database_url: str
) -> None:
    async with stopped_builds(database_url):
        command = [sys.executable, "-m", "tests.builds", database_url, "dpo"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        try:
            await until(lambda: people.rows(WAITING))
        finally:
            process.kill()
            await process.wait()
    await until(nothing_is_left(people))
    made = await people.build()
    assert (await people.api.admin.post(f"/v1/datasets/{made['id']}/verify")).json()[
        "is_intact"
    ]


async def test_a_connection_cut_in_mid_build_is_an_outage_and_leaves_nothing(
    people: Builder, database_url: str
) -> None:
    async with stopped_builds(database_url) as connection:
        building = asyncio.create_task(
            people.api.admin.post("/v1/datasets", json={"kind": "dpo"})
        )
        found = await until(lambda: people.rows(WAITING))
        await connection.fetch("SELECT pg_terminate_backend($1)", found[0][0])
        answer = await building
    assert answer.status_code == 503, answer.text
    assert "it can be repeated" in answer.json()["detail"]
    await until(nothing_is_left(people))
    assert (await people.build())["number"] > 0
