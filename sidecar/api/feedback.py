"""`/v1/feedback`: what people say of calls; and which calls wait for their word."""

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from sidecar.api.bodies import Body, Line, Prose
from sidecar.api.deps import Now, Reader, Reviewer, Tx, by, quiet
from sidecar.api.pages import Page
from sidecar.core.feedback import Feedback, Source
from sidecar.service import feedback as service
from sidecar.service.feedback import Said, ToAudit

router = APIRouter(tags=["feedback"], dependencies=[Depends(quiet)])

MAX_AUDITS = 100


class NewFeedback(Body):
    """What somebody says of a call: a label, or approved, or a name and a value."""

    call_id: Line = Field(description="As the header x-signalops-call-id has it.")
    source: Source = Field(description="audit is for calls that were drawn for it.")
    reviewer: Line = Field(description="Who says it; the first one's word is tested.")
    label: Line | None = Field(None, description="One that the judge could answer.")
    approved: StrictBool | None = None
    name: Line | None = Field(None, description="What the value is of.")
    value: StrictBool | StrictInt | StrictFloat | None = None
    comment: Prose | None = None


@router.post("/v1/feedback", status_code=201)
async def give(
    body: NewFeedback, tx: Tx, now: Now, actor: Reviewer, response: Response
) -> Feedback:
    """Say something of a call; saying the same again changes nothing and answers 200."""
    said = Said(**{name: getattr(body, name) for name in NewFeedback.model_fields})
    found, is_new = await service.give(tx, said, project_id=actor.project_id, by=by(actor, now))
    if not is_new:
        response.status_code = 200
    return found


@router.get("/v1/feedback")
async def history(tx: Tx, actor: Reader, call_id: Annotated[Line, Query()]) -> Page[Feedback]:
    """List all that was said of a call, in order, what was superseded too."""
    found = await service.history(tx, call_id, project_id=actor.project_id)
    return Page(found, None)


@router.get("/v1/experiments/{experiment_id}/audits", response_model=Page[ToAudit])
async def list_audits(
    experiment_id: Line,
    tx: Tx,
    actor: Reviewer,
    limit: Annotated[int, Query(ge=1, le=MAX_AUDITS)] = 20,
) -> Response:
    """List drawn calls that wait for a label, oldest first, without arm or verdict."""
    found = await service.undecided_audits(
        tx, experiment_id, limit, project_id=actor.project_id
    )
    # A request may hold what only escapes can carry, and numbers beyond 64 bits.
    content = json.dumps({"items": [asdict(call) for call in found], "next": None})
    return Response(content, media_type="application/json")
