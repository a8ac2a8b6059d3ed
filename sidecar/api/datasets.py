"""`/v1/datasets`: build a dataset, look at what came of it, verify that it is whole."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.api.bodies import Body, Limit, Line, Share
from sidecar.api.deps import Now, Operator, Reader, Shared, Tx, by, quiet
from sidecar.api.pages import Page, numbered_page
from sidecar.core.datasets import (
    HOLDOUT,
    HUMANS,
    MAX_PATTERN,
    MAX_SEED,
    MIN_ROWS,
    VALIDATION,
    Kind,
    MinScore,
    Redact,
    Spec,
)
from sidecar.core.errors import Unavailable
from sidecar.service import datasets as service
from sidecar.service.datasets import Verified
from sidecar.service.keys import project_for
from sidecar.store import datasets as store
from sidecar.store.database import transaction
from sidecar.store.datasets import Dataset
from sidecar.store.exporting import be_patient

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(quiet)])

DEFAULT_PROJECT = "default"
MAX_ID = 2**62
MAX_NUMBER = 1e9  # in millionths it still fits the database's integers
AT_ONCE = 2  # each holds a connection for minutes, and the drain needs some, too
MAX_WAITING = 20

Number = Annotated[StrictInt | StrictFloat, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


def _in_utc(moment: datetime) -> datetime:
    """Give a time in UTC; one without a zone is taken as that, as all times are shown."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        msg = "the time is before the year 1 or after 9999"
        raise ValueError(msg) from None


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
    validation: Share = VALIDATION
    holdout: Share = HOLDOUT
    seed: Annotated[str, StringConstraints(max_length=MAX_SEED)] = ""
    redact: Redaction = Redaction()
    min_rows: StrictInt = MIN_ROWS
    allow_one_class: StrictBool = False
    expose_holdout: StrictBool = Field(
        default=False, description="Train on what another of the project's datasets holds out."
    )
    usd_per_million_tokens: Number | None = None
    as_of: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)] | None = Field(
        None, description="Id of the last feedback that counts; left out: the newest."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Dataset):
    """A dataset, and what is left of where it came from.

    Args:
        calls: How many calls its rows are of.
        calls_existing: How many of them retention has left; the rows stay all the same.
    """

    calls: int
    calls_existing: int


class _Queue:
    """Who works, and who waits."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(AT_ONCE)
        self.waiting = 0


@dataclass(frozen=True, slots=True)
class Turns:
    """Lets only so many work at once, so that others find a connection, and memory.

    Args:
        of: What waits for each other.
    """

    request: Request
    engine: AsyncEngine
    of: str

    @asynccontextmanager
    async def mine(self) -> AsyncIterator[AsyncEngine]:
        """Wait for a place, and hold it.

        Raises:
            Unavailable: Too many wait already, or who asked has gone meanwhile.
        """
        queues = self.request.app.state.queues = getattr(
            self.request.app.state, "queues", defaultdict(_Queue)
        )
        queue: _Queue = queues[self.of]
        if queue.waiting >= MAX_WAITING:
            msg = f"{AT_ONCE} {self.of} are at work and {MAX_WAITING} wait; try again later"
            raise Unavailable(msg)
        queue.waiting += 1
        try:
            await queue.places.acquire()
        finally:
            queue.waiting -= 1
        try:
            if await self.request.is_disconnected():
                msg = "who asked has gone"
                raise Unavailable(msg)
            yield self.engine
        finally:
            queue.places.release()


def _turns(request: Request, shared: Shared) -> Turns:
    return Turns(request, shared.engine, "datasets")


Queue = Annotated[Turns, Depends(_turns)]


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
    body: NewDataset, tx: Tx, queue: Queue, now: Now, actor: Operator, response: Response
) -> Shown:
    """Build a dataset; one of the same content is given back as it is, with 200.

    It takes about a minute for every hundred thousand rows. Two are built at a time, and
    others wait for them.
    """
    project_id = project_for(body.project_id, actor.project_id) or DEFAULT_PROJECT
    spec = _spec(body, project_id)
    await tx.close()  # what follows may take minutes, and has transactions of its own
    async with queue.mine() as engine:
        found, is_new = await service.build(engine, spec, by=by(actor, now))
        if not is_new:
            response.status_code = 200
        async with transaction(engine) as again:
            return await _shown(again, found)


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
    return numbered_page(found, limit, [each.number for each in found])


@router.get("/{dataset_id}")
async def get(dataset_id: Line, tx: Tx, actor: Reader) -> Shown:
    """Show a dataset with its manifest, and how many of its calls are left."""
    return await _shown(tx, await service.get(tx, dataset_id, project_id=actor.project_id))


@router.post("/{dataset_id}/verify")
async def verify(dataset_id: Line, tx: Tx, queue: Queue, actor: Reader) -> Verified:
    """Compute its hash again from its rows, and see which of its calls are left."""
    await tx.close()  # as above: it may have to wait
    async with queue.mine() as engine, transaction(engine) as own:
        await be_patient(own)
        return await service.verify(own, dataset_id, project_id=actor.project_id)


async def _shown(tx: AsyncConnection, found: Dataset) -> Shown:
    await be_patient(tx)
    used, existing = await store.count_calls(tx, found.number)
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return Shown(**values, calls=used, calls_existing=existing)
