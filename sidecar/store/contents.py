"""Where are the parts of requests kept? Once each, under their SHA-256."""

from collections.abc import Collection, Mapping

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.tables import contents


async def add(tx: AsyncConnection, parts: Mapping[bytes, bytes]) -> None:
    """Store the parts that are not there yet."""
    # Sorted, so that two drains take the rows' locks in the same order.
    hashes = sorted(parts)
    await tx.execute(
        text(
            "INSERT INTO contents (hash, body) "
            "SELECT * FROM unnest(CAST(:hashes AS bytea[]), CAST(:bodies AS bytea[])) "
            "ON CONFLICT DO NOTHING"
        ),
        {"hashes": hashes, "bodies": [parts[digest] for digest in hashes]},
    )


async def get(tx: AsyncConnection, hashes: Collection[bytes]) -> dict[bytes, bytes]:
    """Fetch the parts that exist, by hash."""
    statement = select(contents).where(contents.c.hash.in_(list(hashes)))
    return {bytes(digest): bytes(body) for digest, body in await tx.execute(statement)}
