"""`/v1/feedback`: what people say of calls; and which calls wait for their word."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import (
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    Tag,
    TypeAdapter,
)
from pydantic import ValidationError as BodyError

from sidecar.api.bodies import Body, Line, Prose
from sidecar.api.deps import Now, Reader, Reviewer, Shared, Tx, by, quiet
from sidecar.api.errors import STATUS, status_of
from sidecar.api.pages import Page
from sidecar.core.calls import MAX_RESPONSE_ID
from sidecar.core.drafts import Draft
from sidecar.core.errors import Invalid
from sidecar.core.feedback import Feedback, Source
from sidecar.service import feedback as service
from sidecar.service.feedback import Given, Refused, Said, ToAudit

router = APIRouter(tags=["feedback"], dependencies=[Depends(quiet)])

MAX_AUDITS = 100
MAX_BATCH = 1000
MAX_BATCH_CHARS = 12_000_000  # so much text can be stored well within a statement's time


# Sealed by LiteLLM, an id of the Responses API is longer than a line.
ResponseId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_RESPONSE_ID, pattern=r"^[ -~]+$")
]


class Texts(Body):
    """Two texts for the call's prompt."""

    chosen: str = Field(description="The better one.")
    rejected: str


class NewFeedback(Body):
    """What somebody says of a call: exactly one thing, or a comment alone."""

    call_id: Line | None = Field(None, description="As the header x-signalops-call-id has it.")
    response_id: ResponseId | None = Field(None, description="Instead: the id the answer bore.")
    source: Source = Field(
        Source.CORRECTION, description="audit is for calls that were drawn for it."
    )
    reviewer: Line = Field(description="Who says it; the first one's word is tested.")
    label: Line | None = Field(None, description="One that the judge could answer.")
    approved: StrictBool | None = None
    better: str | None = Field(None, description="With approved: false, what had been good.")
    edit: str | None = Field(None, description="The text as a person has changed it.")
    name: Line | None = Field(None, description="What the value is of; sent is a draft's end.")
    value: StrictBool | StrictInt | StrictFloat | None = None
    over: Line | None = Field(
        None, description="Id of another call with the same prompt and a worse answer."
    )
    tie_with: Line | None = Field(None, description="Instead: neither answer is better.")
    pair: Texts | None = None
    comment: Prose | None = None
    key: Line | None = Field(
        None, description="Of your making; a word sent again with its key changes nothing."
    )

    def said(self) -> Said:
        """Give what is said as the rules take it."""
        values = {name: getattr(self, name) for name in NewFeedback.model_fields}
        pair = None if self.pair is None else (self.pair.chosen, self.pair.rejected)
        return Said(**{**values, "pair": pair})


class Batch(Body):
    """Many things said, each kept or refused by itself, in their order."""

    # Read one by one: what is wrong with one must not be the others' loss.
    items: list[Any] = Field(
        min_length=1,
        max_length=MAX_BATCH,
        json_schema_extra={"items": {"$ref": "#/components/schemas/NewFeedback"}},
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an item was refused, as a refused request is told."""

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class KeptItem:
    """A kept item of a batch.

    Args:
        index: Its place in the batch, from 0.
        is_new: False when it was said before.
    """

    index: int
    feedback: Feedback
    is_new: bool


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """A refused item of a batch, by its place from 0."""

    index: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of each item, in their order, and how many were kept and refused."""

    items: Sequence[KeptItem | RefusedItem]
    kept: int
    refused: int


@dataclass(frozen=True, slots=True)
class HistoryPage(Page[Feedback]):
    """All that was said of a call.

    Args:
        draft: What became of it; null for a call that is no draft's.
    """

    draft: Draft | None


def _kind_of_body(body: object) -> str:
    return "batch" if isinstance(body, dict) and "items" in body else "one"


Sent = Annotated[
    Annotated[NewFeedback, Tag("one")] | Annotated[Batch, Tag("batch")],
    Discriminator(_kind_of_body),
]
_ONE = TypeAdapter(Feedback)
_MANY = TypeAdapter(BatchAnswer)
_HISTORY = TypeAdapter(HistoryPage)


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=Feedback,
    responses={200: {"model": BatchAnswer | Feedback}},
)
async def give(body: Sent, tx: Tx, now: Now, actor: Reviewer, context: Shared) -> Response:
    """Say something of a call, or of many.

    One thing said is answered by 201, or by 200 when it was said before. A batch (`items`)
    is answered by 200, and tells of each item what became of it.
    """
    project, who, min_edit = actor.project_id, by(actor, now), context.min_edit
    if isinstance(body, NewFeedback):
        given = await service.give(
            tx, body.said(), project_id=project, by=who, min_edit=min_edit
        )
        status = 201 if given.is_new else 200
        return Response(_ONE.dump_json(given.feedback), status, media_type="application/json")
    read = _said(body.items)
    said = [each for each in read if isinstance(each, Said)]
    found = iter(
        await service.give_all(tx, said, project_id=project, by=who, min_edit=min_edit)
    )
    items = [
        _item(place, next(found) if isinstance(each, Said) else each)
        for place, each in enumerate(read)
    ]
    kept = sum(isinstance(item, KeptItem) for item in items)
    answer = BatchAnswer(items, kept, len(items) - kept)
    return Response(_MANY.dump_json(answer), media_type="application/json")


@router.get("/v1/feedback", response_model=HistoryPage)
async def history(tx: Tx, actor: Reader, call_id: Annotated[Line, Query()]) -> Response:
    """List all that was said of a call, in order, what was superseded too."""
    found = await service.history(tx, call_id, project_id=actor.project_id)
    page = HistoryPage(found.items, None, found.draft)
    return _escaped(_HISTORY.dump_python(page, mode="json"))


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
    return _escaped({"items": [asdict(call) for call in found], "next": None})


def _escaped(content: object) -> Response:
    # What a model was sent or wrote may hold what only escapes can carry, and numbers
    # beyond 64 bits.
    return Response(json.dumps(content), media_type="application/json")


def _said(items: Sequence[Any]) -> list[Said | Problem]:
    """Read the items of a batch, each by itself.

    Raises:
        Invalid: Their texts are too much for one transaction.
    """
    found = [_read(item) for item in items]
    size = sum(_size(each) for each in found if isinstance(each, Said))
    if size > MAX_BATCH_CHARS:
        msg = (
            f"the texts of the batch have {size:,} characters together; at most "
            f"{MAX_BATCH_CHARS:,} are taken at once, so send them in several batches"
        )
        raise Invalid(msg)
    return found


def _read(item: object) -> Said | Problem:
    try:
        return NewFeedback.model_validate(item).said()
    except BodyError as error:
        found = [
            f"{'.'.join(str(part) for part in each['loc'])[:80]}: {each['msg'][:300]}"
            for each in error.errors(include_url=False, include_input=False)[:5]
        ]
        return _problem("InvalidRequest", STATUS[Invalid], "; ".join(found).lstrip(": "))


def _size(said: Said) -> int:
    texts = (said.edit, said.better, *(said.pair or ()))
    return sum(len(each) for each in texts if each is not None)


def _item(place: int, found: Given | Refused | Problem) -> KeptItem | RefusedItem:
    if isinstance(found, Given):
        return KeptItem(place, found.feedback, found.is_new)
    if isinstance(found, Problem):
        return RefusedItem(place, found)
    kind = type(found.error)
    return RefusedItem(place, _problem(kind.__name__, status_of(kind), str(found.error)))


def _problem(name: str, status: int, detail: str) -> Problem:
    """Tell a refusal as `api.errors` tells it of a whole request."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    shown = detail.encode("utf-8", "replace").decode()
    return Problem(
        f"urn:signalops:{kind}", kind.replace("-", " ").capitalize(), int(status), shown
    )
