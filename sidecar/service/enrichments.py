"""What becomes of enrichments that came before their calls?"""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.service.totals import recounting
from sidecar.store import counters, enrichments
from sidecar.store.database import transaction

# A call that is not stored a week after it began was put aside or lost.
GIVE_UP_AFTER = timedelta(days=7)


async def settle_late(engine: AsyncEngine, now: datetime) -> None:
    """Apply the enrichments whose calls have come, and give up on the oldest.

    The drain applies what it can at once. Two drains, one with a call and one with its
    enrichment, do not see each other's rows; what they leave is found here.
    """
    async with transaction(engine) as tx:
        if not await enrichments.any_kept(tx):
            return
        forgotten = await enrichments.forget(tx, before=now - GIVE_UP_AFTER)
        await counters.add(tx, {"enrichments_forgotten": forgotten})
        due = await enrichments.due(tx)
        async with recounting(tx, due):  # last, for it keeps other drains waiting
            await enrichments.settle(tx, due)
