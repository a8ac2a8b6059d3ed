"""What may be done with API keys?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Denied, Unauthenticated
from sidecar.core.keys import Key, check_expiry, check_project, check_scopes, digest_of
from sidecar.core.routing import Caller
from sidecar.store import events, keys
from sidecar.store.events import By


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is asked for.

    Args:
        models: Groups it may ask for; none means every group.
        expires_at: None for a key that does not expire.
    """

    project_id: str
    scopes: Sequence[str]
    models: Sequence[str] = ()
    name: str | None = None
    expires_at: datetime | None = None


async def create(tx: AsyncConnection, new: NewKey, *, key_id: str, secret: str, by: By) -> Key:
    """Make a key known; only its digest is kept.

    Args:
        secret: The key itself, which nobody can be told again.

    Raises:
        Invalid: The project, a scope or the expiry is malformed.
    """
    key = Key(
        id=key_id,
        project_id=check_project(new.project_id),
        name=new.name,
        scopes=check_scopes(new.scopes),
        models=tuple(dict.fromkeys(new.models)),
        created_at=by.now,
        created_by=by.actor,
        expires_at=check_expiry(new.expires_at, by.now),
    )
    await events.take_turn(tx)
    await keys.add(tx, key, digest_of(secret))
    detail = {"project_id": key.project_id, "scopes": list(key.scopes)}
    await events.add(tx, f"key:{key.id}", "created", by, detail)
    return key


async def page(
    tx: AsyncConnection,
    *,
    project_id: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Key]:
    """List keys, newest first; revoked ones too."""
    return await keys.page(tx, project_id=project_id, before=before, limit=limit)


async def revoke(tx: AsyncConnection, key_id: str, *, project_id: str | None, by: By) -> Key:
    """Let a key open nothing any more; revoking twice changes nothing.

    Raises:
        NotFound: There is none of that id, or it is another project's.
    """
    await events.take_turn(tx)
    key, was_good = await keys.revoke(tx, key_id, project_id=project_id, now=by.now)
    if was_good:
        await events.add(tx, f"key:{key.id}", "revoked", by, {"project_id": key.project_id})
    return key


async def authenticate(tx: AsyncConnection, secret: str, now: datetime) -> Caller:
    """Say who a key stands for.

    Raises:
        Unauthenticated: Nobody knows the key, or it was revoked or has expired.
    """
    key = await keys.with_digest(tx, digest_of(secret))
    if key is None or key.revoked_at is not None:
        msg = "the API key is unknown or was revoked"
        raise Unauthenticated(msg)
    if not key.is_valid(now):
        msg = f"the API key {key.id} has expired"
        raise Unauthenticated(msg)
    return key.caller()


def project_for(asked: str | None, bound: str | None) -> str | None:
    """Say which project a request is about.

    Args:
        asked: The one it names; None when it names none.
        bound: The one its key is bound to; None for a key that reaches all.

    Raises:
        Denied: It names another project than its key's.
    """
    if bound is not None and asked not in (None, bound):
        msg = f"the key is bound to project {bound!r}, the request is for {asked!r}"
        raise Denied(msg)
    return bound if asked is None else asked
