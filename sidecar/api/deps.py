"""What does an endpoint need besides its input? A transaction, the time, and who asks."""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.errors import Unauthenticated
from sidecar.core.keys import PREFIX, SCOPES, require_scope
from sidecar.core.reviewing import DOUBLE
from sidecar.service.idempotency import Claim
from sidecar.service.keys import authenticate
from sidecar.service.volume import Volume
from sidecar.store.database import transaction
from sidecar.store.events import By
from sidecar.worker.control import Controller
from sidecar.worker.drain import Drainer
from sidecar.worker.publish import Publisher

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')
ADMIN = "admin"

_bearer = HTTPBearer(auto_error=False, description="A key that begins with so-.")


@dataclass(slots=True)
class Context:
    """What the application works with; made when it starts.

    Args:
        admin_key: The key that opens everything.
        publisher: None in a process that does not publish.
        drainer: None in a process that does not drain.
        controller: None in a process that does not look at experiments.
        ended_loops: Names of loops that ended although they should not.
        review_double: Share of the judges' drawn calls that two people label.
        min_edit: An edit of less than this share of the longer text gives no pair.
    """

    admin_key: str
    volume: Volume
    engine: AsyncEngine
    publisher: Publisher | None
    drainer: Drainer | None
    controller: Controller | None
    ended_loops: list[str] = field(default_factory=list)
    review_double: float = DOUBLE
    min_edit: float = 0.0


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks.

    Args:
        name: As the audit has it: `admin`, or `key:<id>`.
        project_id: The only project whose rows it sees; None for all.
        models: Groups it may see; empty means every group.
    """

    name: str
    project_id: str | None
    scopes: frozenset[str]
    models: frozenset[str] = frozenset()


def context_of(request: Request) -> Context:
    """Find what the application works with."""
    found: Context = request.app.state.context
    return found


async def _transaction(request: Request) -> AsyncIterator[AsyncConnection]:
    context = context_of(request)
    async with transaction(context.engine) as tx:
        yield tx
    # Only now, for before the commit there is nothing to publish. When the answer leaves,
    # the routes are out, and every worker takes them up within its next look.
    changes_routes = request.method not in _READS and not hasattr(request.state, "is_quiet")
    if changes_routes and context.publisher is not None:
        await context.publisher.publish_now()


def quiet(request: Request) -> None:
    """Say of a request that it changes no route: nothing is to be published after it."""
    request.state.is_quiet = True


def _now() -> datetime:
    return datetime.now(UTC)


Shared = Annotated[Context, Depends(context_of)]
# scope="function": commit before the response leaves. By default FastAPI ends a dependency
# after it, and a failed commit would follow a 200 the client already has.
Tx = Annotated[AsyncConnection, Depends(_transaction, scope="function")]
Now = Annotated[datetime, Depends(_now)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def admin_of(context: Context, credentials: HTTPAuthorizationCredentials) -> Actor | None:
    """Recognise the admin key, without the database."""
    sent = credentials.credentials.encode("utf-8", "surrogatepass")
    if hmac.compare_digest(sent, context.admin_key.encode()):
        return Actor(ADMIN, None, frozenset(SCOPES))
    return None


async def actor_of(
    context: Context,
    credentials: HTTPAuthorizationCredentials,
    tx: AsyncConnection,
    now: datetime,
) -> Actor:
    """Say who sent these credentials.

    Raises:
        Unauthenticated: Nobody known did.
    """
    admin = admin_of(context, credentials)
    if admin is not None:
        return admin
    caller = await authenticate(tx, credentials.credentials, now)
    return Actor(f"key:{caller.key_id}", caller.project_id, caller.scopes, caller.models)


def _sent(credentials: Credentials) -> HTTPAuthorizationCredentials:
    if credentials is None or not credentials.credentials:
        msg = "no API key was sent; send 'Authorization: Bearer <key>'"
        raise Unauthenticated(msg)
    return credentials


def _needs(scope: str) -> Callable[..., Awaitable[Actor]]:
    """Make a dependency that lets in who has a scope."""

    async def check(
        context: Shared,
        credentials: Annotated[HTTPAuthorizationCredentials, Depends(_sent)],
        tx: Tx,
        now: Now,
    ) -> Actor:
        actor = await actor_of(context, credentials, tx, now)
        require_scope(actor.scopes, scope)
        return actor

    return check


Reader = Annotated[Actor, Depends(_needs("read"))]
Reviewer = Annotated[Actor, Depends(_needs("review"))]
Operator = Annotated[Actor, Depends(_needs("operate"))]
Admin = Annotated[Actor, Depends(_needs("admin"))]

IdempotencyKey = Annotated[
    str | None,
    Header(description="Send the same for a repeated create; it is then made only once."),
    StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$"),
]
IfMatch = Annotated[
    str | None, Header(description="The ETag seen; the change is refused if it is older.")
]


def by(actor: Actor, now: datetime, reason: str | None = None) -> By:
    """Say who makes a change."""
    return By(actor.name, now, reason)


async def claim_of(
    request: Request, actor: Actor, key: str | None, now: datetime
) -> Claim | None:
    """Read the client's word that a request is a repeated one."""
    if key is None:
        return None
    said = f"{request.method} {request.url.path}\n".encode() + await request.body()
    return Claim(key, actor.name, hashlib.sha256(said).hexdigest(), now)


def seen_version(if_match: str | None) -> int | None:
    """Read an ETag back; one that is none of ours matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    return int(found[1]) if found else 0


def etag(version: int) -> dict[str, str]:
    """Write the header that says which version was answered."""
    return {"ETag": f'"{version}"'}


def new_id(kind: str) -> str:
    """Make an id that no other has."""
    return f"{kind}-{secrets.token_hex(6)}"


def new_secret() -> str:
    """Make an API key."""
    return f"{PREFIX}{secrets.token_urlsafe(32)}"
