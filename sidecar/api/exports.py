"""`/v1/datasets/{id}/export`, `/v1/judgments/export`: files for trainers, streamed.

The header `X-Signalops-Rows` says how many rows there are: who counts fewer has not got all.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from sidecar.api.bodies import Body, Line
from sidecar.api.datasets import DEFAULT_PROJECT, Moment, Turns
from sidecar.api.deps import Reader, Shared, Tx
from sidecar.core.datasets import Split
from sidecar.core.formats import CHOOSY, Format
from sidecar.service import exporting, judgments
from sidecar.service.exporting import Export
from sidecar.service.judgments import JudgmentFormat
from sidecar.service.keys import project_for
from sidecar.store.exporting import JudgmentFilter

router = APIRouter(tags=["exports"])

ROWS = "X-Signalops-Rows"
HELD_OUT = "X-Signalops-Held-Out"
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file; the header X-Signalops-Rows says how many rows it has.",
        "content": {exporting.JSONL: {}, exporting.PARQUET: {}},
    }
}


def _turns(request: Request, shared: Shared) -> Turns:
    return Turns(request, shared.engine, "exports")


Queue = Annotated[Turns, Depends(_turns)]


class Judgments(Body):
    """Which judgments are wanted."""

    project_id: Line | None = Field(None, description="Its key's, if that is bound to one.")
    group: Line | None = None
    since: Moment | None = Field(None, description="Of the calls' starts.")
    until: Moment | None = Field(None, description="It is left out itself.")
    form: JudgmentFormat = Field(JudgmentFormat.JSONL, alias="format")


@router.get(
    "/v1/datasets/{dataset_id}/export", response_class=StreamingResponse, responses=_FILES
)
async def export_dataset(
    dataset_id: Line,
    tx: Tx,
    queue: Queue,
    actor: Reader,
    form: Annotated[Format, Query(alias="format")],
    split: Annotated[Split, Query(description="train or validation.")] = Split.TRAIN,
) -> StreamingResponse:
    """Send a split of a dataset as a trainer reads it; the holdout is never sent."""
    plan = await exporting.plan(tx, dataset_id, form, split, project_id=actor.project_id)
    await tx.close()  # what follows may take minutes, and takes connections of its own
    if form not in CHOOSY:
        return _sent(await exporting.export(queue.engine, plan))
    async with queue.mine() as engine:  # until the file to send is written
        return _sent(await exporting.export(engine, plan))


@router.get("/v1/judgments/export", response_class=StreamingResponse, responses=_FILES)
async def export_judgments(
    tx: Tx, queue: Queue, actor: Reader, asked: Annotated[Judgments, Query()]
) -> StreamingResponse:
    """Send what judges were asked and said, with people's labels; the holdout is left out."""
    project = project_for(asked.project_id, actor.project_id) or DEFAULT_PROJECT
    await tx.close()  # as above
    only = JudgmentFilter(project, asked.group, asked.since, asked.until)
    async with queue.mine() as engine:  # as above
        export, held_out = await judgments.export(engine, only, asked.form)
    return _sent(export, held_out)


def _sent(export: Export, held_out: int | None = None) -> StreamingResponse:
    headers = {
        ROWS: str(export.rows),
        "Content-Disposition": f'attachment; filename="{export.name}"',
    }
    if held_out is not None:
        headers[HELD_OUT] = str(held_out)
    if export.size_bytes is not None:
        headers["Content-Length"] = str(export.size_bytes)
    return StreamingResponse(export.pieces, headers=headers, media_type=export.media_type)
