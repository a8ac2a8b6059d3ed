"""Which months does `calls` have room for, and how is one more added?

A month is a table of its own, so that retention is dropping a table and a look at this week
reads this month. Made ahead at start, and by the drain for whatever a record needs.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_NAME = re.compile(r"calls_\d{4}_\d{2}")
_LOCK_KEY = 0x510_0002  # of the advisory lock under which months are added


def is_partition(table: str) -> bool:
    """Whether a table is a month of `calls`."""
    return _NAME.fullmatch(table) is not None


def month_of(moment: datetime) -> datetime:
    """Return the first moment of the UTC month that a moment is in.

    Args:
        moment: Aware.
    """
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, 1, tzinfo=UTC)


def next_month(month: datetime) -> datetime:
    """Return the first moment of the month after."""
    year, index = divmod(month.year * 12 + month.month, 12)
    return datetime(year, index + 1, 1, tzinfo=UTC)


async def ensure_partitions(tx: AsyncConnection, months: Iterable[datetime]) -> None:
    """Make room for the months that are missing.

    The months stand beside `calls` first and are attached then: that waits for no reader
    and no writer, which `CREATE TABLE ... PARTITION OF` would.

    Args:
        months: As `month_of` gives them.
    """
    wanted = {f"calls_{month:%Y_%m}": month for month in months}
    if not await _missing(tx, wanted):
        return
    # Whoever made one meanwhile has committed once we hold this, so look again.
    await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    for name in sorted(await _missing(tx, wanted)):
        start = wanted[name]
        await tx.execute(text(f"CREATE TABLE {name} (LIKE calls INCLUDING ALL)"))
        await tx.execute(
            text(
                f"ALTER TABLE calls ATTACH PARTITION {name} FOR VALUES "
                f"FROM ('{start.isoformat()}') TO ('{next_month(start).isoformat()}')"
            )
        )


async def _missing(tx: AsyncConnection, wanted: Iterable[str]) -> set[str]:
    """Tell which of the tables are no partitions of `calls` yet."""
    rows = await tx.execute(
        text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
            "WHERE inhparent = 'calls'::regclass"
        )
    )
    return set(wanted) - {str(name) for (name,) in rows}
