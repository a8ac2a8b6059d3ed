"""How does the database get its tables? Alembic, run by the sidecar itself at start.

Needs no configuration file: an installed wheel has none. Any number of processes may do
this at once; one migrates, the others wait and find the work done.
"""

from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from sidecar.core.errors import Conflict
from sidecar.store.database import transaction
from sidecar.store.partitions import ensure_partitions, month_of, next_month

_LOCK_KEY = 0x510_0001  # of the advisory lock under which migrations run
_TURN_WITHIN = "300s"  # another process's migrations may take a while
_LOCK_WITHIN = "5s"  # a table that is in use must not hold up everyone who queues behind us


async def migrate(engine: AsyncEngine, *, now: datetime) -> None:
    """Bring the tables up to date and make room for this month and the next.

    Raises:
        Conflict: The database was made by a newer version.
        Unavailable: It cannot be reached, or a table was in use for too long.
    """
    async with transaction(engine) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        await tx.execute(text(f"SET LOCAL lock_timeout = '{_TURN_WITHIN}'"))
        await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        await tx.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WITHIN}'"))
        await tx.run_sync(upgrade)
        this_month = month_of(now)
        await ensure_partitions(tx, [this_month, next_month(this_month)])


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to a revision, within the connection's transaction.

    Raises:
        Conflict: The database is at a revision that this version does not know.
    """
    try:
        command.upgrade(configuration(connection), revision)
    except CommandError as error:
        msg = f"the database cannot be migrated by this version of signalops: {error}"
        raise Conflict(msg) from error


def configuration(connection: Connection) -> Config:
    """Make Alembic's configuration for a connection."""
    config = Config()
    directory = Path(next(iter(migrations.__path__)))
    # Alembic keeps options in a ConfigParser, to which a lone `%` is a mistake.
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
