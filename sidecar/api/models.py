"""`/v1/models`: the registry of trained models, and which version `ft:<name>` means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse

from sidecar.api.bodies import Because, Body, Line, Prose, to_json
from sidecar.api.deps import (
    Admin,
    IdempotencyKey,
    Now,
    Operator,
    Reader,
    Tx,
    by,
    claim_of,
)
from sidecar.core.registry import FINE_TUNED, ModelType, Version
from sidecar.service import models as service
from sidecar.service.idempotency import once
from sidecar.service.models import Model, Registration

router = APIRouter(prefix="/v1/models", tags=["models"])

Number = Annotated[int, Path(ge=1, le=1_000_000)]


class NewVersion(Body):
    """A trained result to register."""

    model_id: Line
    provider: Line
    type: ModelType
    name: Line | None = None
    base_model: Line | None = None
    api_base: Line | None = None
    api_key_env: Line | None = None
    reason: Prose | None = None


class Named(Because):
    """A version, by its provider's own id."""

    model_id: Line


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version, and what it is called.

    Args:
        alias: What clients ask for while the version is active.
        deployment_id: What an experiment's arms name it by, active or not.
        api_key_env: The name of a variable in the proxy's environment.
    """

    name: str
    type: ModelType
    number: int
    alias: str
    deployment_id: str
    model_id: str
    provider: str
    base_model: str | None
    api_base: str | None
    api_key_env: str | None
    is_active: bool
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """A registered name and its versions, in their order.

    Args:
        active: The number of the version that `alias` means; None when it means none.
    """

    name: str
    type: ModelType
    alias: str
    active: int | None
    versions: Sequence[VersionView]


@dataclass(frozen=True, slots=True)
class Models:
    """The whole registry."""

    items: Sequence[ModelView]


# Registering sends a variable of the proxy's environment to an address, so it is an
# administrator's; which version serves is for who operates the experiments.
@router.post("", status_code=201, response_model=VersionView)
async def register(
    request: Request,
    body: NewVersion,
    tx: Tx,
    now: Now,
    actor: Admin,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register a trained result as the next version of its name."""
    new = Registration(**body.model_dump(exclude={"reason"}))

    async def make() -> Mapping[str, Any]:
        made = await service.register(tx, new, by=by(actor, now, body.reason))
        return to_json(_view(made))

    claim = await claim_of(request, actor, idempotency_key, now)
    answer, _ = await once(tx, claim, make)
    return JSONResponse(answer, 201)


@router.get("")
async def list_all(tx: Tx, _actor: Reader) -> Models:
    """List the registry by name."""
    return Models([_model(model) for model in await service.every(tx)])


@router.get("/{name}")
async def get(name: Line, tx: Tx, _actor: Reader) -> ModelView:
    """Show a name with its versions."""
    return _model(await service.get(tx, name.removeprefix(FINE_TUNED)))


@router.post("/activate")
async def activate_by_id(body: Named, tx: Tx, now: Now, actor: Operator) -> VersionView:
    """Make the version of a provider's id the active one of its name."""
    version = await service.with_model_id(tx, body.model_id)
    who = by(actor, now, body.reason)
    return _view(await service.activate(tx, version.name, version.number, by=who))


@router.post("/deactivate")
async def deactivate_by_id(body: Named, tx: Tx, now: Now, actor: Operator) -> VersionView:
    """Take the version of a provider's id out of service."""
    version = await service.with_model_id(tx, body.model_id)
    who = by(actor, now, body.reason)
    return _view(await service.deactivate(tx, version.name, version.number, by=who))


@router.post("/{name}/versions/{number}/activate")
async def activate(
    name: Line,
    number: Number,
    tx: Tx,
    now: Now,
    actor: Operator,
    body: Because | None = None,
) -> VersionView:
    """Make a version the one that `ft:<name>` means."""
    who = by(actor, now, None if body is None else body.reason)
    return _view(await service.activate(tx, name, number, by=who))


@router.post("/{name}/versions/{number}/deactivate")
async def deactivate(
    name: Line,
    number: Number,
    tx: Tx,
    now: Now,
    actor: Operator,
    body: Because | None = None,
) -> VersionView:
    """Take a version out of service; `ft:<name>` then means nothing."""
    who = by(actor, now, None if body is None else body.reason)
    return _view(await service.deactivate(tx, name, number, by=who))


def _model(model: Model) -> ModelView:
    return ModelView(
        name=model.name,
        type=model.type,
        alias=f"{FINE_TUNED}{model.name}",
        active=model.active,
        versions=[_view(version) for version in model.versions],
    )


def _view(version: Version) -> VersionView:
    return VersionView(
        name=version.name,
        type=version.type,
        number=version.number,
        alias=f"{FINE_TUNED}{version.name}",
        deployment_id=version.deployment_id,
        model_id=version.model_id,
        provider=version.provider,
        base_model=version.base_model,
        api_base=version.api_base,
        api_key_env=version.api_key_env,
        is_active=version.is_active,
        created_at=version.created_at,
        created_by=version.created_by,
    )
