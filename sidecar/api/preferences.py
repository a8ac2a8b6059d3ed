"""`/v1/preferences`: what people's words teach, pair by pair and in numbers."""

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from sidecar.api.bodies import Line
from sidecar.api.deps import Reader, Tx
from sidecar.api.pages import Page
from sidecar.core.pairs import KnownPair, PairFilter, PairSummary
from sidecar.core.preferences import Origin
from sidecar.service import preferences as service
from sidecar.service.keys import project_for

router = APIRouter(prefix="/v1/preferences", tags=["preferences"])

MAX_PAGE = 200
LAST_ID = 2**63 - 1


@router.get("", response_model=Page[KnownPair])
async def list_all(  # noqa: PLR0913  (the filters)
    tx: Tx,
    actor: Reader,
    *,
    project_id: Annotated[Line | None, Query()] = None,
    group: Annotated[Line | None, Query()] = None,
    origin: Annotated[Origin | None, Query()] = None,
    is_current: Annotated[bool | None, Query()] = None,
    after: Annotated[int | None, Query(ge=1, le=LAST_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """List pairs of texts with the words that they stand on, newest first."""
    project = project_for(project_id, actor.project_id)
    only = PairFilter(project, group, origin, is_current)
    found, following = await service.page(tx, only, before=after, limit=limit)
    items = [{**asdict(pair), "at": pair.at.isoformat()} for pair in found]
    # A text may hold half of a surrogate pair, which only an escape can carry.
    content = json.dumps({"items": items, "next": following and str(following)})
    return Response(content, media_type="application/json")


@router.get("/summary")
async def summarise(
    tx: Tx, actor: Reader, project_id: Annotated[Line | None, Query()] = None
) -> PairSummary:
    """Count pairs by origin, and what gave none."""
    return await service.summary(tx, project_for(project_id, actor.project_id))
