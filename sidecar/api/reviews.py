"""`/v1/reviews`: hand a person one call to look at, take the answer, and say who agrees."""

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, StrictBool

from sidecar.api.bodies import Body, Line, Prose
from sidecar.api.deps import Now, Reader, Reviewer, Shared, Tx, by, quiet
from sidecar.core.agreement import Agreement, Judged
from sidecar.core.reviewing import Kind
from sidecar.service import agreement as agreeing
from sidecar.service import reviews as service
from sidecar.service.reviews import Answer, Answered, Handed
from sidecar.store.reviews import Asking

router = APIRouter(tags=["reviews"], dependencies=[Depends(quiet)])

Group = Annotated[Line | None, Query(description="Only calls of this group.")]


class NewAnswer(Body):
    """What a reviewer says: a label, or approved, or edit, or that the call is skipped.

    The texts may be as long as those of `/v1/feedback`, which refuses what cannot be kept.
    """

    call_id: Line
    reviewer: Line = Field(description="As the call was asked for.")
    label: Line | None = Field(None, description="One of the item's labels.")
    approved: StrictBool | None = None
    better: str | None = Field(None, description="Goes with approved: false.")
    edit: str | None = Field(None, description="The text as it should be.")
    comment: Prose | None = None
    skip: StrictBool = Field(default=False, description="Not to be handed it again for a day.")


@router.get("/v1/reviews/next", response_model=Handed)
async def hand_out(  # noqa: PLR0913, PLR0917  (each is a parameter of the request)
    tx: Tx,
    now: Now,
    actor: Reviewer,
    context: Shared,
    reviewer: Annotated[Line, Query(description="Who is to look at it.")],
    group: Group = None,
    kind: Annotated[Kind | None, Query(description="Only calls that wait for this.")] = None,
) -> Response:
    """Hand out the call that waits first: drawn ones, then drafts; `item` is null for none."""
    groups = _groups(group)
    asking = Asking(reviewer, actor.project_id, groups, context.review_double, now)
    found = await service.hand_out(tx, asking, only=kind)
    # A request may hold what only escapes can carry, and numbers beyond 64 bits.
    return Response(json.dumps(_shown(found)), media_type="application/json")


@router.post("/v1/reviews", status_code=201)
async def answer(
    body: NewAnswer, tx: Tx, now: Now, actor: Reviewer, context: Shared, response: Response
) -> Answered:
    """Answer a call that was handed out; a skip, or the same word again, answers 200."""
    said = Answer(**{name: getattr(body, name) for name in NewAnswer.model_fields})
    found = await service.answer(
        tx,
        said,
        project_id=actor.project_id,
        double=context.review_double,
        min_edit=context.min_edit,
        by=by(actor, now),
    )
    if not found.is_new:
        response.status_code = 200
    return found


@router.get("/v1/reviews/agreement")
async def agreement(
    tx: Tx,
    actor: Reader,
    of: Annotated[Judged, Query(description="What they judged.")] = Judged.LABELS,
    group: Group = None,
) -> Agreement:
    """Say how far reviewers agree on the calls that two or more of them judged."""
    groups = _groups(group)
    return await agreeing.agreement(tx, of, project_id=actor.project_id, groups=groups)


def _groups(group: str | None) -> Collection[str] | None:
    return None if group is None else [group]


def _shown(found: Handed) -> dict[str, object]:
    shown = asdict(found)
    if found.locked_until is not None:
        shown["locked_until"] = found.locked_until.isoformat()
    return shown
