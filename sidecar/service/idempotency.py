"""How is a repeated create answered? As the first time, without creating anything."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Conflict
from sidecar.store import events, idempotency
from sidecar.store.idempotency import Answered

KEPT_FOR = timedelta(days=7)  # longer than any client retries
CREATED = 201


@dataclass(frozen=True, slots=True)
class Claim:
    """A client's word that two requests are the same.

    Args:
        key: What the client sent as `Idempotency-Key`.
        actor: Who sent it; keys of different callers do not meet.
        request_hash: SHA-256 (hex) of method, path and body.
    """

    key: str
    actor: str
    request_hash: str
    now: datetime


async def once(
    tx: AsyncConnection,
    claim: Claim | None,
    make: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    withheld: frozenset[str] = frozenset(),
) -> tuple[dict[str, Any], bool]:
    """Make something, unless the claim says that it was made already.

    Args:
        claim: None when the client made none; then it is made in any case.
        make: Does the work in the same transaction, and gives the answer as JSON values.
        withheld: Fields that are not kept, for they are secret; repeated, they are null.

    Returns:
        The answer, and whether it is repeated.

    Raises:
        Conflict: The same key came with another request.
    """
    if claim is None:
        return dict(await make()), False
    await events.take_turn(tx)
    found = await idempotency.find(tx, claim.key, claim.actor)
    if found is not None:
        if found.request_hash != claim.request_hash:
            msg = "this Idempotency-Key was used for another request; use a new one"
            raise Conflict(msg)
        return dict(found.response), True
    answer = dict(await make())
    kept = answer | {name: None for name in withheld if name in answer}
    answered = Answered(claim.request_hash, CREATED, kept)
    await idempotency.forget_before(tx, claim.now - KEPT_FOR)
    await idempotency.add(tx, claim.key, claim.actor, answered, claim.now)
    return answer, False
