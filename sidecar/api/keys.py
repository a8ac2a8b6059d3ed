"""`/v1/keys`: API keys, for the proxy and for this API alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field

from sidecar.api.bodies import Because, Body, Limit, Line, Prose, to_json
from sidecar.api.deps import (
    Admin,
    IdempotencyKey,
    Now,
    Tx,
    by,
    claim_of,
    new_id,
    new_secret,
)
from sidecar.api.pages import Page, decode_place, page_of
from sidecar.core.keys import Key
from sidecar.service import keys as service
from sidecar.service.idempotency import once
from sidecar.service.keys import NewKey, project_for

router = APIRouter(prefix="/v1/keys", tags=["keys"])

DEFAULT_PROJECT = "default"
MAX_MODELS = 200


class WantedKey(Body):
    """A key to make."""

    project_id: Line | None = None
    scopes: list[Line] = Field(min_length=1, max_length=10)
    models: list[Line] = Field(
        default_factory=list, max_length=MAX_MODELS, description="Groups; none means every one."
    )
    name: Line | None = None
    expires_at: AwareDatetime | None = None
    reason: Prose | None = None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key.

    Args:
        key: The key itself, told only now; null when the request was repeated.
    """

    key: str | None
    id: str
    project_id: str
    name: str | None
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None


@router.post("", status_code=201, response_model=CreatedKey)
async def create(
    request: Request,
    body: WantedKey,
    tx: Tx,
    now: Now,
    actor: Admin,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a key; the answer is the only place where it ever stands."""
    new = NewKey(
        project_id=project_for(body.project_id, actor.project_id) or DEFAULT_PROJECT,
        scopes=body.scopes,
        models=body.models,
        name=body.name,
        expires_at=body.expires_at,
    )

    async def make() -> Mapping[str, Any]:
        secret = new_secret()
        who = by(actor, now, body.reason)
        made = await service.create(tx, new, key_id=new_id("key"), secret=secret, by=who)
        shown = to_json(made)
        del shown["revoked_at"]
        return {"key": secret, **shown}

    claim = await claim_of(request, actor, idempotency_key, now)
    answer, _ = await once(tx, claim, make, withheld=frozenset({"key"}))
    return JSONResponse(answer, 201, {"Cache-Control": "no-store"})


@router.get("")
async def list_all(
    tx: Tx,
    actor: Admin,
    project_id: Annotated[Line | None, Query()] = None,
    after: Annotated[str | None, Query(max_length=400)] = None,
    limit: Limit = 50,
) -> Page[Key]:
    """List keys, newest first; revoked ones too."""
    project = project_for(project_id, actor.project_id)
    found = await service.page(
        tx, project_id=project, before=decode_place(after), limit=limit + 1
    )
    return page_of(found, limit, [(item.created_at, item.id) for item in found])


@router.delete("/{key_id}")
async def delete(key_id: Line, tx: Tx, now: Now, actor: Admin) -> Key:
    """Let a key open nothing any more; it stays in the list, as revoked."""
    return await service.revoke(tx, key_id, project_id=actor.project_id, by=by(actor, now))


@router.post("/{key_id}/revoke")
async def revoke(
    key_id: Line, tx: Tx, now: Now, actor: Admin, body: Because | None = None
) -> Key:
    """Let a key open nothing any more."""
    who = by(actor, now, None if body is None else body.reason)
    return await service.revoke(tx, key_id, project_id=actor.project_id, by=who)
