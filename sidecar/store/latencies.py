"""How long does a group's primary usually take? Asked once, when a plan is made."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import PRIMARY
from sidecar.core.calls import Outcome

NEWEST_CALLS = 20_000  # of all groups: what is older says little of today
ENOUGH_CALLS = 200  # 10 of them beyond the percentile: fewer, and it is a matter of luck

_P95 = text(
    """
    SELECT count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms)
    FROM (
        SELECT group_name, assigned_arm, outcome, latency_ms FROM calls
        ORDER BY call_id DESC, started_at DESC LIMIT :newest
    ) AS recent
    WHERE group_name = :group AND assigned_arm = :primary AND outcome = :served
    """
)


async def usual_p95_ms(tx: AsyncConnection, group: str) -> float | None:
    """Measure the 95th percentile of the primary's latency; None with too few calls."""
    values = {
        "newest": NEWEST_CALLS,
        "group": group,
        "primary": PRIMARY,
        "served": Outcome.SERVED.value,
    }
    calls, p95_ms = (await tx.execute(_P95, values)).one()
    return None if calls < ENOUGH_CALLS else round(float(p95_ms), 1)
