"""Databases to test and measure on: made, copied and dropped on a real server."""

import asyncio

import asyncpg
from sqlalchemy.engine import make_url


def create_database(server: str, name: str, template: str = "template1") -> str:
    """Make a database on a server and return its URL.

    Args:
        server: URL of any database on it, of a user who may create databases.
        template: What to copy; nobody may be connected to it.
    """
    asyncio.run(_run(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    url = make_url(server).set(database=name)
    return url.render_as_string(hide_password=False)


def drop_database(url: str) -> None:
    """Drop a database that `create_database` made, whoever is still connected."""
    name = make_url(url).database
    server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    asyncio.run(_run(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
