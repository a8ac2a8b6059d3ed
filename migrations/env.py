"""How does Alembic reach the database? By the connection it is handed, or by the environment.

`sidecar.store.migrate` hands one over. The developer's `alembic` command has none, so it
takes `SIGNALOPS_DATABASE_URL`.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from sidecar.core.errors import Invalid
from sidecar.store.database import create_engine
from sidecar.store.learned import feedback
from sidecar.store.measured import totals
from sidecar.store.partitions import is_partition

# All parts of the schema: each table must have been imported to be known.
metadata = next(iter({table.metadata for table in (totals, feedback)}))


def include_object(
    _object: object, name: str | None, kind: str, _reflected: object, _compare_to: object
) -> bool:
    """Leave the months of `calls` out of comparisons: they come and go with time."""
    return not (kind == "table" and name is not None and is_partition(name))


def run(connection: Connection) -> None:
    """Run the migrations on a connection; whoever opened its transaction commits it."""
    context.configure(
        connection=connection, target_metadata=metadata, include_object=include_object
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_by_environment() -> None:
    """Connect as the environment says, for the developer's command."""
    url = os.environ.get("SIGNALOPS_DATABASE_URL")
    if not url:
        msg = "set SIGNALOPS_DATABASE_URL to the database that alembic should use"
        raise Invalid(msg)
    engine = create_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    asyncio.run(run_by_environment())
