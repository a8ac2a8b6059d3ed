"""Is the database reached by any URL, waited for, and its trouble told without a secret?"""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from sidecar.core.errors import Invalid, Unavailable
from sidecar.store.database import (
    check_version,
    create_engine,
    libpq_url,
    transaction,
    wait_for_database,
)
from tests.gate import Gate

PASSWORD = "p@ss/w:rd %41?#é"  # noqa: S105 - of a role that is made here
NOWHERE = "postgresql://nobody:secret-word@127.0.0.1:1/none"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://u:p@h/d?sslmode=require", id="libpq's"),
        pytest.param("postgres://u:p@h/d?sslmode=require", id="short"),
        pytest.param(" postgresql+asyncpg://u:p@h/d?sslmode=require\n", id="SQLAlchemy's"),
    ],
)
def test_every_spelling_of_the_scheme_will_do(url: str) -> None:
    assert libpq_url(url) == "postgresql://u:p@h/d?sslmode=require"


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "secret", "", "sqlite:///secret"])
def test_another_databases_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(Invalid, match="postgresql://") as caught:
        create_engine(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("version", [140_012, 90_624])
def test_an_old_server_is_refused(version: int) -> None:
    with pytest.raises(Invalid, match="15 or newer"):
        check_version(version)


@pytest.mark.parametrize("version", [150_000, 180_001])
def test_a_server_from_15_on_will_do(version: int) -> None:
    check_version(version)


async def test_a_password_of_special_characters_is_passed_on(database_url: str) -> None:
    role = make_url(database_url).database
    server = await asyncpg.connect(database_url)
    await server.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'")
    own = make_url(database_url).set(username=role, password=PASSWORD)
    engine = create_engine(own.render_as_string(hide_password=False))
    try:
        async with transaction(engine) as tx:
            assert (await tx.execute(text("SELECT current_user"))).scalar_one() == role
    finally:
        await engine.dispose()
        await server.execute(f'DROP ROLE "{role}"')
        await server.close()


async def test_a_statement_that_takes_too_long_is_cancelled_and_may_be_tried_again(
    database_url: str,
) -> None:
    engine = create_engine(database_url, statement_timeout_s=0.2)
    with pytest.raises(Unavailable, match="57014"):
        async with transaction(engine) as tx:
            await tx.execute(text("SELECT pg_sleep(30)"))
    await engine.dispose()


async def test_a_connection_that_is_cut_is_an_outage_and_the_next_one_works(
    database_url: str,
) -> None:
    engine = create_engine(database_url)
    with pytest.raises(Unavailable):
        async with transaction(engine) as tx:
            await tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with transaction(engine) as tx:
        assert (await tx.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()


async def test_a_mistake_of_ours_is_no_outage(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(ProgrammingError):
        async with transaction(engine) as tx:
            await tx.execute(text("SELECT * FROM nothing"))
    await engine.dispose()


async def test_a_transaction_that_fails_leaves_nothing(database_url: str) -> None:
    engine = create_engine(database_url)

    async def fail() -> None:
        async with transaction(engine) as tx:
            await tx.execute(text("INSERT INTO counters VALUES ('lines', 1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with transaction(engine) as tx:
        assert (await tx.execute(text("SELECT * FROM counters"))).all() == []
    await engine.dispose()


async def test_waiting_ends_when_the_database_answers(database_url: str) -> None:
    said: list[str] = []
    await wait_for_database(database_url, 5.0, said.append)
    assert said == []


async def test_waiting_for_nobody_tells_why_once_and_gives_up() -> None:
    said: list[str] = []
    with pytest.raises(Unavailable, match=r"gave up after 1\.2 s") as caught:
        await wait_for_database(NOWHERE, 1.2, said.append)
    assert len(said) == 1
    assert "cannot be reached" in said[0]
    assert "secret-word" not in said[0] + str(caught.value)


async def test_a_server_that_greets_with_rubbish_is_none_that_can_be_reached() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for said in (b"N", b"R\x00\x00\x00\x02rubbish"):  # no TLS; a message cut short
            await reader.read(1_000)
            writer.write(said)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="cannot be reached"):
            await wait_for_database(f"postgresql://u@127.0.0.1:{port}/d", 0.1, lambda _: None)


async def test_a_server_that_comes_up_late_is_waited_for(database_url: str) -> None:
    gate = await Gate.open(database_url)
    await gate.shut()
    said = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(wait_for_database(gate.url, 30.0, lambda _: said.set()))
        await said.wait()
        await gate.reopen()
    await gate.shut()
