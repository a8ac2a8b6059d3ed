"""`/v1/experiments/{id}/…`: its plan, its looks, and what was decided, by whom and why."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from sidecar.api.bodies import Because, Body, Limit, Line, Prose
from sidecar.api.changes import Change, because, tagged
from sidecar.api.deps import Reader, Tx
from sidecar.api.pages import Page, numbered_page
from sidecar.service import deciding, looking
from sidecar.service import experiments as service
from sidecar.service.views import ExperimentView
from sidecar.store.decisions import Decision, Look
from sidecar.store.epochs import Epoch

router = APIRouter(prefix="/v1/experiments/{experiment_id}", tags=["experiments"])

MAX_LOOKS = 1_000  # a plot has no more pixels


class NewPlan(Because):
    """A plan to change to; what it leaves out has its default."""

    plan: dict[str, Any]


class Reasoned(Body):
    """Why a person decides; there must be a reason, for it cannot be read off the numbers."""

    reason: Prose


class Promotion(Reasoned):
    """Which canary to promote."""

    arm: Line | None = Field(None, description="Needed when there are several canaries.")


@router.put("/plan")
async def set_plan(asked: Change, body: NewPlan, tx: Tx, response: Response) -> ExperimentView:
    """Change the plan; a started experiment begins a new epoch, the old one stays readable."""
    return tagged(response, await service.set_plan(tx, because(asked, body.reason), body.plan))


@router.post("/promote")
async def promote(asked: Change, body: Promotion, tx: Tx, response: Response) -> ExperimentView:
    """Give a canary the traffic; the plan's hold-back stays with the primary for a while."""
    done = await deciding.promote(tx, because(asked, body.reason), body.arm)
    return tagged(response, done)


@router.post("/rollback")
async def roll_back(
    asked: Change, body: Reasoned, tx: Tx, response: Response
) -> ExperimentView:
    """Take the canaries out of traffic at once, and end the experiment."""
    return tagged(response, await deciding.roll_back(tx, because(asked, body.reason)))


@router.post("/undo")
async def undo(asked: Change, body: Reasoned, tx: Tx, response: Response) -> ExperimentView:
    """Take back the latest decision that changed the shares, whoever took it."""
    return tagged(response, await deciding.undo(tx, because(asked, body.reason)))


@router.get("/epochs")
async def list_epochs(experiment_id: Line, tx: Tx, actor: Reader) -> Sequence[Epoch]:
    """List its epochs with their frozen plans, in order."""
    return await looking.epochs_of(tx, experiment_id, project_id=actor.project_id)


@router.get("/decisions")
async def list_decisions(
    experiment_id: Line,
    tx: Tx,
    actor: Reader,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Limit = 100,
) -> Page[Decision]:
    """List what was decided, on which numbers, newest first."""
    found = await looking.decisions_of(
        tx, experiment_id, project_id=actor.project_id, before=before, limit=limit + 1
    )
    return numbered_page(found, limit, [each.id for each in found])


@router.get("/looks")
async def list_looks(
    experiment_id: Line,
    tx: Tx,
    actor: Reader,
    epoch: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=2, le=MAX_LOOKS)] = 300,
) -> Sequence[Look]:
    """List what was seen over time, for a plot: estimate, interval, e-values, share."""
    return await looking.history_of(
        tx, experiment_id, project_id=actor.project_id, epoch=epoch, limit=limit
    )
