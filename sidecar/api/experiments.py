"""`/v1/experiments`: plan, start, pause, change, stop, and ask for results."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from sidecar.api.bodies import Because, Body, Limit, Line, Prose, Share, to_json
from sidecar.api.changes import Change, because, tagged
from sidecar.api.deps import (
    IdempotencyKey,
    Now,
    Operator,
    Reader,
    Shared,
    Tx,
    by,
    claim_of,
    etag,
    new_id,
)
from sidecar.api.pages import Page, decode_place, numbered_page, page_of
from sidecar.core.experiments import Status
from sidecar.core.planning import Wish, first_step
from sidecar.core.report import Results
from sidecar.core.routing import Owner, UnitSource
from sidecar.service import experiments as service
from sidecar.service.experiments import Asked, ExperimentFilter
from sidecar.service.idempotency import once
from sidecar.service.keys import project_for
from sidecar.service.results import results as describe
from sidecar.service.views import ExperimentView
from sidecar.store.events import Event

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

DEFAULT_PROJECT = "default"


class NewExperiment(Body):
    """An experiment to plan; it starts when it is told to."""

    group: Line | None = Field(None, description="Left out: the group the primary serves.")
    shares: dict[Line, Share] | None = Field(
        None,
        description="Probability by arm, summing to 1. Left out: the first step of the ramp.",
    )
    arms: dict[Line, list[Line]] = Field(
        default_factory=dict,
        description="Deployment ids or model names by arm; left out: as the YAML has them.",
    )
    unit: UnitSource | None = Field(None, description="The one source a unit may come from.")
    hypothesis: Prose | None = None
    plan: dict[str, Any] | None = Field(
        None, description="What decides and how; what it leaves out has its default."
    )
    project_id: Line | None = None
    reason: Prose | None = None


class NewShares(Because):
    """Shares to change to."""

    shares: dict[Line, Share]


def _move(asked: Change, body: Because | None = None) -> Asked:
    return because(asked, None if body is None else body.reason)


Move = Annotated[Asked, Depends(_move)]


@router.post("", status_code=201, response_model=ExperimentView)
async def create(
    request: Request,
    body: NewExperiment,
    tx: Tx,
    now: Now,
    actor: Operator,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Plan an experiment on a group."""
    wish = Wish(
        group=body.group,
        shares=body.shares or first_step(body.plan, body.arms),
        arms=body.arms,
        unit=body.unit,
        hypothesis=body.hypothesis,
        plan=body.plan,
        project_id=project_for(body.project_id, actor.project_id) or DEFAULT_PROJECT,
    )

    async def make() -> Mapping[str, Any]:
        who = by(actor, now, body.reason)
        made = await service.create(tx, wish, experiment_id=new_id("exp"), by=who)
        return to_json(made)

    claim = await claim_of(request, actor, idempotency_key, now)
    answer, _ = await once(tx, claim, make)
    return JSONResponse(answer, 201, etag(answer["version"]))


@router.get("")
async def list_all(  # noqa: PLR0913  (the filters)
    tx: Tx,
    actor: Reader,
    *,
    group: Annotated[Line | None, Query()] = None,
    status: Annotated[Status | None, Query()] = None,
    owner: Annotated[Owner | None, Query()] = None,
    project_id: Annotated[Line | None, Query()] = None,
    after: Annotated[str | None, Query(max_length=400)] = None,
    limit: Limit = 50,
) -> Page[ExperimentView]:
    """List experiments, newest first."""
    only = ExperimentFilter(project_for(project_id, actor.project_id), group, status, owner)
    found = await service.page(tx, only, before=decode_place(after), limit=limit + 1)
    return page_of(found, limit, [(item.created_at, item.id) for item in found])


@router.get("/{experiment_id}")
async def get(experiment_id: Line, tx: Tx, actor: Reader, response: Response) -> ExperimentView:
    """Show an experiment with its stages."""
    found = await service.get(tx, experiment_id, project_id=actor.project_id)
    response.headers.update(etag(found.version))
    return found


@router.post("/{experiment_id}/start")
async def start(asked: Move, tx: Tx, response: Response) -> ExperimentView:
    """Let a draft take its group over."""
    return tagged(response, await service.start(tx, asked))


@router.post("/{experiment_id}/pause")
async def pause(asked: Move, tx: Tx, response: Response) -> ExperimentView:
    """Let the primary serve all for a while."""
    return tagged(response, await service.pause(tx, asked))


@router.post("/{experiment_id}/resume")
async def resume(asked: Move, tx: Tx, response: Response) -> ExperimentView:
    """Go on after a pause."""
    return tagged(response, await service.resume(tx, asked))


@router.post("/{experiment_id}/stop")
async def stop(asked: Move, tx: Tx, response: Response) -> ExperimentView:
    """End it, and hand its group back to the YAML."""
    return tagged(response, await service.stop(tx, asked))


@router.put("/{experiment_id}/shares")
async def set_shares(
    asked: Change, body: NewShares, tx: Tx, response: Response
) -> ExperimentView:
    """Change the shares; raising a canary's moves units only into it."""
    done = await service.set_shares(tx, because(asked, body.reason), body.shares)
    return tagged(response, done)


@router.get("/{experiment_id}/results")
async def results(
    experiment_id: Line,
    tx: Tx,
    actor: Reader,
    context: Shared,
    now: Now,
    epoch: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Results:
    """Tell its calls by arm and stage, and what its plan infers; valid at every look."""
    return await describe(
        tx,
        experiment_id,
        handoff=context.volume.root,
        now=now,
        epoch=epoch,
        project_id=actor.project_id,
    )


@router.get("/{experiment_id}/events")
async def list_events(
    experiment_id: Line,
    tx: Tx,
    actor: Reader,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Limit = 100,
) -> Page[Event]:
    """List what was done with it, by whom and why, newest first."""
    found = await service.audit(
        tx, experiment_id, project_id=actor.project_id, before=before, limit=limit + 1
    )
    return numbered_page(found, limit, [each.id for each in found])
