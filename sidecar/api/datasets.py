"""`/v1/datasets`: build a dataset, look at what came of it, verify that it is whole."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
)

from sidecar.api.bodies import Body, Limit, Line, Share
from sidecar.api.deps import Now, Operator, Reader, Shared, Tx, by, quiet
from sidecar.api.pages import Page
from sidecar.core.datasets import (
    HUMANS,
    MAX_PATTERN,
    MAX_SEED,
    MIN_ROWS,
    Kind,
    MinScore,
    Redact,
    Spec,
)
from sidecar.service import datasets as service
from sidecar.service.datasets import Verified
from sidecar.service.keys import project_for
from sidecar.store.datasets import Dataset

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(quiet)])

DEFAULT_PROJECT = "default"
MAX_ID = 2**62

Number = StrictInt | StrictFloat


def _in_utc(moment: datetime) -> datetime:
    """Take a time without a zone as UTC, as all times here are shown."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATTERN)]


class Score(Body):
    """A score that people gave, and the least average of it."""

    name: Line
    value: Number


class Redaction(Body):
    """What is taken out of the texts."""

    handles: StrictBool = True
    links: StrictBool = True
    mail: StrictBool = True
    phone: StrictBool = True
    patterns: dict[Line, Pattern] = Field(
        default_factory=dict,
        description="Regular expressions by the name that stands in place of what they find.",
    )


class NewDataset(Body):
    """What to build a dataset of; what is left out has its default."""

    kind: Kind
    project_id: Line | None = None
    group: Line | None = None
    since: Moment | None = Field(None, description="The calls' start, from here on.")
    until: Moment | None = Field(None, description="The calls' start, before here.")
    sources: list[Line] = Field(
        list(HUMANS), description="Of the feedback: audit, correction, review, judge."
    )
    min_score: Score | None = None
    min_agreement: Number | None = Field(
        None, description="Share of reviewers, above 0.5; left out: a strict majority."
    )
    arm: Line | None = None
    model: Line | None = Field(None, description="What wrote a text, by the provider's name.")
    origins: list[Line] = Field(
        default_factory=list,
        description="Of pairs: edit, rejection, choice, label, manual; empty for all.",
    )
    validation: Share = 0.1
    holdout: Share = 0.1
    seed: Annotated[str, StringConstraints(max_length=MAX_SEED)] = ""
    redact: Redaction = Redaction()
    min_rows: StrictInt = MIN_ROWS
    allow_one_class: StrictBool = False
    usd_per_million_tokens: Number | None = None
    as_of: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)] | None = Field(
        None, description="Id of the last feedback that counts; left out: the newest."
    )


def _spec(body: NewDataset, project_id: str) -> Spec:
    values: dict[str, Any] = {name: getattr(body, name) for name in NewDataset.model_fields}
    score = body.min_score
    return Spec(
        **values
        | {
            "project_id": project_id,
            "sources": tuple(dict.fromkeys(body.sources)),
            "origins": tuple(dict.fromkeys(body.origins)),
            "min_score": None if score is None else MinScore(score.name, float(score.value)),
            "redact": Redact(**dict(body.redact)),
        }
    )


@router.post("", status_code=201)
async def build(
    body: NewDataset, tx: Tx, shared: Shared, now: Now, actor: Operator, response: Response
) -> Dataset:
    """Build a dataset; one of the same content is given back as it is, with 200.

    It takes about a minute for every hundred thousand rows.
    """
    project_id = project_for(body.project_id, actor.project_id) or DEFAULT_PROJECT
    await tx.close()  # what follows may take minutes, and has transactions of its own
    found, is_new = await service.build(
        shared.engine, _spec(body, project_id), by=by(actor, now)
    )
    if not is_new:
        response.status_code = 200
    return found


@router.get("")
async def list_all(
    tx: Tx,
    actor: Reader,
    project_id: Annotated[Line | None, Query()] = None,
    after: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    limit: Limit = 50,
) -> Page[Dataset]:
    """List datasets, newest first."""
    project = project_for(project_id, actor.project_id)
    found = await service.page(tx, project_id=project, before=after, limit=limit + 1)
    more = len(found) > limit
    return Page(found[:limit], str(found[limit - 1].number) if more else None)


@router.get("/{dataset_id}")
async def get(dataset_id: Line, tx: Tx, actor: Reader) -> Dataset:
    """Show a dataset with its manifest."""
    return await service.get(tx, dataset_id, project_id=actor.project_id)


@router.post("/{dataset_id}/verify")
async def verify(dataset_id: Line, tx: Tx, actor: Reader) -> Verified:
    """Compute its hash again from its rows, and see which of its calls are left."""
    return await service.verify(tx, dataset_id, project_id=actor.project_id)
