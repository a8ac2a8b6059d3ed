"""How does what is learned late about a call get into its row?

An enrichment fills what is null and changes nothing else, so it may come before its call,
after it, or twice.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.calls import COLUMNS, Row

Extra = tuple[datetime, int | None, int | None, int | None, float | None]
"""When the call began (as its id says), then values in the order of `FIELDS`."""

FIELDS = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd")
_FIRST = COLUMNS.index(FIELDS[0])
_PLACE = slice(_FIRST, _FIRST + len(FIELDS))
if COLUMNS[_PLACE] != FIELDS:
    msg = f"the columns {FIELDS} of calls must stand together, found {COLUMNS[_PLACE]}"
    raise RuntimeError(msg)


def merged(first: Extra | None, second: Extra) -> Extra:
    """Join two enrichments of one call; the first one's values stand."""
    if first is None:
        return second
    pairs = zip(first, second, strict=True)
    return tuple(b if a is None else a for a, b in pairs)  # type: ignore[return-value]


def enriched(row: Row, extra: Extra) -> Row:
    """Fill what is null in a row of `calls`."""
    pairs = zip(row[_PLACE], extra[1:], strict=True)
    filled = tuple(late if value is None else value for value, late in pairs)
    return (*row[: _PLACE.start], *filled, *row[_PLACE.stop :])


async def keep(tx: AsyncConnection, extras: Mapping[str, Extra]) -> None:
    """Keep enrichments until `settle` finds their calls."""
    await tx.execute(
        text(
            """
            INSERT INTO pending_enrichments AS kept
                (call_id, started_at, prompt_tokens, completion_tokens, cached_tokens, cost_usd)
            SELECT * FROM unnest(
                CAST(:call_ids AS text[]), CAST(:started_at AS timestamptz[]),
                CAST(:prompt AS bigint[]), CAST(:completion AS bigint[]),
                CAST(:cached AS bigint[]), CAST(:cost AS double precision[]))
            ON CONFLICT (call_id) DO UPDATE SET
                prompt_tokens = coalesce(kept.prompt_tokens, excluded.prompt_tokens),
                completion_tokens =
                    coalesce(kept.completion_tokens, excluded.completion_tokens),
                cached_tokens = coalesce(kept.cached_tokens, excluded.cached_tokens),
                cost_usd = coalesce(kept.cost_usd, excluded.cost_usd)
            """
        ),
        _arrays(extras),
    )


async def any_kept(tx: AsyncConnection) -> bool:
    """Whether an enrichment waits for its call."""
    found = await tx.execute(text("SELECT EXISTS (SELECT FROM pending_enrichments)"))
    return bool(found.scalar_one())


async def due(tx: AsyncConnection, call_ids: Collection[str] | None = None) -> list[str]:
    """Name the stored calls of which an enrichment is kept.

    Args:
        call_ids: Only of these; None for all.
    """
    only = "" if call_ids is None else "WHERE call_id = ANY(:call_ids)"
    statement = text(
        f"""
        SELECT call_id FROM pending_enrichments AS kept JOIN calls USING (call_id, started_at)
        {only} ORDER BY call_id FOR UPDATE OF kept
        """  # noqa: S608 - `only` is one of the two strings above
    )
    found = await tx.execute(
        statement, {} if call_ids is None else {"call_ids": list(call_ids)}
    )
    return list(found.scalars())


async def settle(tx: AsyncConnection, call_ids: Collection[str]) -> None:
    """Apply the kept enrichments of some calls that are stored."""
    statement = text(
        """
        WITH due AS (
            DELETE FROM pending_enrichments AS kept USING calls
            WHERE calls.call_id = kept.call_id AND calls.started_at = kept.started_at
                AND kept.call_id = ANY(:call_ids)
            RETURNING kept.*
        )
        UPDATE calls SET
            prompt_tokens = coalesce(calls.prompt_tokens, due.prompt_tokens),
            completion_tokens = coalesce(calls.completion_tokens, due.completion_tokens),
            cached_tokens = coalesce(calls.cached_tokens, due.cached_tokens),
            cost_usd = coalesce(calls.cost_usd, due.cost_usd)
        FROM due WHERE calls.call_id = due.call_id AND calls.started_at = due.started_at
        """
    )
    await tx.execute(statement, {"call_ids": list(call_ids)})


async def forget(tx: AsyncConnection, *, before: datetime) -> int:
    """Give up on the enrichments of calls that began before a moment and never came.

    Returns:
        How many there were.
    """
    statement = text("DELETE FROM pending_enrichments WHERE started_at < :before")
    return (await tx.execute(statement, {"before": before})).rowcount


def _arrays(extras: Mapping[str, Extra]) -> dict[str, list[object]]:
    names = ("call_ids", "started_at", "prompt", "completion", "cached", "cost")
    # Sorted, so that two drains take the rows' locks in the same order.
    rows = [(call_id, *extras[call_id]) for call_id in sorted(extras)]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
