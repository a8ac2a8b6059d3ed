"""A real PostgreSQL for every test that asks for one.

`database_url` is a migrated, empty database of the test's own; `engine` is connected to it.
The server is the one of `SIGNALOPS_TEST_DATABASE_URL` (of a user who may create databases),
or an embedded one for the session. Nothing is started for tests that ask for neither.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import create_engine
from sidecar.store.migrate import migrate
from sidecar.up.home import Home
from sidecar.up.postgres import EmbeddedPostgres
from tests.databases import create_database, drop_database
from tests.embedded import common_ground

_numbers = itertools.count(1)

# For `--hypothesis-profile=quick`: what runs before every commit looks less hard than
# `make test` does, and the same examples every time.
settings.register_profile("quick", max_examples=25, derandomize=True)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of a database on the server that the tests use."""
    given = os.environ.get("SIGNALOPS_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with common_ground() as directory, EmbeddedPostgres(Home(directory / "home")) as server:
        yield server.dsn


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """Name of a migrated database that nobody is connected to."""
    name = f"signalops_test_{os.getpid()}"
    url = create_database(server_url, name)
    asyncio.run(_migrate(url))
    yield name
    drop_database(url)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """URL of a database without any table."""
    url = create_database(server_url, f"signalops_test_{os.getpid()}_{next(_numbers)}")
    yield url
    drop_database(url)


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """URL of a migrated database without any row."""
    url = create_database(server_url, f"{template}_{next(_numbers)}", template)
    yield url
    drop_database(url)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Connect to the test's own database."""
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


async def _migrate(url: str) -> None:
    engine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    await engine.dispose()
