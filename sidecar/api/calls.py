"""`/v1/calls`: what was asked, who answered, and what came of it."""

import json
from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Query, Response

from sidecar.api.bodies import Line
from sidecar.api.deps import Reader, Tx
from sidecar.core.calls import Outcome
from sidecar.core.recorded import CallFilter, CallPage, CallWithTexts
from sidecar.service import calls as service
from sidecar.service.keys import project_for

router = APIRouter(prefix="/v1/calls", tags=["calls"])


@router.get("")
async def list_all(  # noqa: PLR0913  (the filters)
    tx: Tx,
    actor: Reader,
    *,
    project_id: Annotated[Line | None, Query()] = None,
    experiment_id: Annotated[Line | None, Query()] = None,
    group: Annotated[Line | None, Query()] = None,
    arm: Annotated[Line | None, Query()] = None,
    outcome: Annotated[Outcome | None, Query()] = None,
    after: Annotated[Line | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=service.MAX_PAGE)] = 50,
) -> CallPage:
    """List calls without their texts, newest first."""
    project = project_for(project_id, actor.project_id)
    only = CallFilter(project, experiment_id, group, arm, outcome)
    return await service.page(tx, only, after=after, limit=limit)


@router.get("/{call_id}", response_model=CallWithTexts)
async def get(call_id: Line, tx: Tx, actor: Reader) -> Response:
    """Show a call with its exact request and its answer."""
    found = await service.get_call(tx, call_id, project_id=actor.project_id)
    # A request may hold lone surrogates, which only escapes can carry, and numbers beyond
    # 64 bits; both must arrive as the client sent them.
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    content = json.dumps(values | {"started_at": found.started_at.isoformat()})
    return Response(content, media_type="application/json")
