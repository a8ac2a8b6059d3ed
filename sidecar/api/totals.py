"""`/v1/experiments/{id}/verify`: are the totals what the rows add up to?"""

from typing import Annotated

from fastapi import APIRouter, Query

from sidecar.api.bodies import Line
from sidecar.api.deps import Operator, Reader, Tx
from sidecar.service import totals as service
from sidecar.service.totals import Verified

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

Epoch = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Left out: the present one.")
]


@router.get("/{experiment_id}/verify")
async def verify(experiment_id: Line, tx: Tx, actor: Reader, epoch: Epoch = None) -> Verified:
    """Compare the totals with a recount of the rows."""
    return await service.verify(tx, experiment_id, epoch=epoch, project_id=actor.project_id)


@router.post("/{experiment_id}/verify")
async def repair(experiment_id: Line, tx: Tx, actor: Operator, epoch: Epoch = None) -> Verified:
    """Replace the totals by a recount of the rows, where they differ."""
    return await service.repair(tx, experiment_id, epoch=epoch, project_id=actor.project_id)
