"""Is there room for the calls of this month and of the next?"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.store.database import transaction
from sidecar.store.partitions import ensure_partitions, month_of, next_month


async def make_room(engine: AsyncEngine, now: datetime) -> None:
    """Add the month and the next to `calls`, if they are not there."""
    this_month = month_of(now)
    async with transaction(engine) as tx:
        await ensure_partitions(tx, [this_month, next_month(this_month)])
