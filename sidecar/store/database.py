"""How does the sidecar reach PostgreSQL, and how does it say that it cannot?

One engine a process, made from a URL as libpq writes it; asyncpg reads the URL itself, so
`sslmode`, several hosts and unix sockets mean what they mean to `psql`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sidecar.core.errors import Invalid, Unavailable

OLDEST_SERVER = 15
CONNECT_WITHIN_S = 5.0
RETRY_EVERY_S = 0.5
APPLICATION = "signalops"  # what pg_stat_activity shows
_SCHEMES = ("postgresql", "postgres")

# SQLSTATE classes and codes after which the same transaction may succeed: connection lost,
# rolled back in favour of another, resources short, operator's intervention, system error.
_OUTAGE_CLASSES = ("08", "40", "53", "57", "58")
_OUTAGE_CODES = ("55P03", "25006")  # a lock not got in time; a standby, during a failover

_NO_CONNECTION = (
    OSError,
    TimeoutError,
    PoolTimeout,
    DBAPIError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server's greeting is none of PostgreSQL's
)
# What asyncpg makes of a connection that is cut, the last one in mid-message.
_BROKEN = (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_IN_TRANSACTION = (*_BROKEN, DBAPIError, asyncpg.PostgresError)


def create_engine(
    url: str, *, pool_size: int = 5, statement_timeout_s: float = 10.0
) -> AsyncEngine:
    """Make the process's engine; it connects when it is first used.

    Args:
        url: As `libpq_url` takes it.
        pool_size: Connections kept; half as many more are made in a rush.
        statement_timeout_s: A statement that takes longer is cancelled.

    Raises:
        Invalid: The URL is none of PostgreSQL's.
    """
    dsn = libpq_url(url)
    settings = {
        "application_name": APPLICATION,
        "statement_timeout": str(int(statement_timeout_s * 1000)),
        # A process that was killed in mid-transaction must not hold its locks for ever.
        "idle_in_transaction_session_timeout": "60000",
        "timezone": "UTC",
    }

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, timeout=CONNECT_WITHIN_S, server_settings=settings)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=max(1, pool_size // 2),
        pool_timeout=CONNECT_WITHIN_S,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's traceback is logged, and parameters hold prompts
    )


def libpq_url(url: str) -> str:
    """Return the URL as libpq and asyncpg read it.

    Args:
        url: `postgresql://user:password@host:port/database?sslmode=require`, with special
            characters in the password percent-encoded. `postgres://` and SQLAlchemy's
            `postgresql+asyncpg://` will do as well.

    Raises:
        Invalid: It is of another kind. The message leaves the URL out: it has a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        found = f"it starts with {scheme[:20]!r}" if separator else "it has no '://'"
        msg = f"the database URL is not PostgreSQL's: {found}, expected 'postgresql://'"
        raise Invalid(msg)
    return f"postgresql://{rest}"


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction: committed at the end of the block, rolled back if it raises.

    Raises:
        Unavailable: The server cannot be reached, went away, or asks to try again.
    """
    async with AsyncExitStack() as stack:
        try:
            tx = await stack.enter_async_context(engine.connect())
        except _NO_CONNECTION as error:
            raise Unavailable(_no_connection(error)) from error
        try:
            async with tx.begin():
                yield tx
        except _IN_TRANSACTION as error:
            if not is_outage(error):
                raise
            msg = f"PostgreSQL broke a transaction off ({_name(error)}); it can be repeated"
            raise Unavailable(msg) from error


def is_outage(error: BaseException) -> bool:
    """Whether an error speaks of the server's state and not of what was asked of it."""
    if isinstance(error, _BROKEN):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code = _sqlstate(error)
    return code[:2] in _OUTAGE_CLASSES or code in _OUTAGE_CODES


async def wait_for_database(url: str, timeout_s: float, on_wait: Callable[[str], None]) -> None:
    """Return when the server answers and is new enough.

    Args:
        url: As `libpq_url` takes it.
        timeout_s: How long to try; at least one attempt is made.
        on_wait: Told once for every new reason why it is not there yet.

    Raises:
        Invalid: The URL is wrong, or the server is older than PostgreSQL 15.
        Unavailable: It did not answer in time; the message has the last reason.
    """
    dsn = libpq_url(url)
    give_up_at = time.monotonic() + timeout_s
    said = ""
    while True:
        try:
            check_version(await _server_version(dsn))
        except _NO_CONNECTION as error:
            reason = _no_connection(error)
        else:
            return
        if time.monotonic() >= give_up_at:
            msg = f"{reason}; gave up after {timeout_s:g} s"
            raise Unavailable(msg)
        if reason != said:
            on_wait(reason)
            said = reason
        await asyncio.sleep(RETRY_EVERY_S)


def check_version(version_num: int) -> None:
    """Refuse a server that is too old.

    Args:
        version_num: As `server_version_num` says it, 160004 for 16.4.

    Raises:
        Invalid: It is older than PostgreSQL 15.
    """
    if version_num // 10_000 < OLDEST_SERVER:
        found = f"{version_num // 10_000}.{version_num % 10_000}"
        msg = f"the server is PostgreSQL {found}; {OLDEST_SERVER} or newer is needed"
        raise Invalid(msg)


async def _server_version(dsn: str) -> int:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_WITHIN_S)
    try:
        return int(await connection.fetchval("SHOW server_version_num"))
    finally:
        await connection.close(timeout=CONNECT_WITHIN_S)


def _no_connection(error: BaseException) -> str:
    """Say why there is no connection; a driver's message names host, port and user only."""
    if isinstance(error, PoolTimeout):
        return "every connection to PostgreSQL is in use"
    cause = error.orig if isinstance(error, DBAPIError) else error
    detail = str(cause) or type(cause).__name__
    return f"PostgreSQL cannot be reached: {detail}"


def _name(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__} {_sqlstate(error)}".strip()


def _sqlstate(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")
