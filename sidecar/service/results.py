"""What has an experiment shown so far?"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import NotFound
from sidecar.core.results import (
    ArmResult,
    Results,
    Shares,
    StageDesign,
    StageResult,
    Summary,
    designed_share,
)
from sidecar.service.reconciliation import reconcile
from sidecar.store import experiments, stages
from sidecar.store import results as store
from sidecar.store.experiments import in_order
from sidecar.store.results import TOTAL
from sidecar.store.stages import Stage

Summaries = Mapping[tuple[int, str], Summary]


async def results(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    handoff: Path,
    epoch: int | None = None,
    project_id: str | None = None,
) -> Results:
    """Describe an experiment's calls by arm, and by stage and arm.

    Args:
        handoff: The shared volume, to compare what was served with what is stored.
        epoch: None for the present one.
        project_id: Who asks sees only this project's experiments; None for all.

    Raises:
        NotFound: There is no such experiment, or it has no such epoch.
    """
    experiment = (await experiments.get(tx, experiment_id, project_id=project_id)).experiment
    epoch = experiment.epoch if epoch is None else epoch
    if not 1 <= epoch <= experiment.epoch:
        known = f"it has 1 to {experiment.epoch}"
        msg = f"experiment {experiment.id!r} has no epoch {epoch} ({known})"
        raise NotFound(msg)
    summaries = await store.summaries(tx, experiment_id, epoch)
    designs = _designs(await stages.of_experiment(tx, experiment_id), epoch, summaries)
    arms = _arms(designs, experiment.share_bp, summaries)
    return Results(
        experiment_id=experiment.id,
        group=experiment.group,
        status=experiment.status.value,
        epoch=epoch,
        arms=_of_stage(TOTAL, designs, arms, summaries),
        stages=[_stage_result(design, arms, summaries) for design in designs],
        reconciliation=await reconcile(tx, handoff),
        generation=await store.generation(tx),
    )


def _designs(recorded: Sequence[Stage], epoch: int, summaries: Summaries) -> list[StageDesign]:
    """Give every stage of the epoch that is on record or has calls, in order."""
    designs = {stage: StageDesign(stage, {}) for stage, _ in summaries if stage != TOTAL}
    for stage in recorded:
        if stage.epoch == epoch:
            designs[stage.stage] = StageDesign(
                stage.stage, stage.share_bp, stage.started_at, stage.ended_at
            )
    return [designs[stage] for stage in sorted(designs)]


def _stage_result(
    design: StageDesign, arms: Sequence[str], summaries: Summaries
) -> StageResult:
    found = _of_stage(design.stage, [design], arms, summaries)
    return StageResult(design.stage, design.started_at, design.ended_at, found)


def _arms(
    designs: Sequence[StageDesign], share_bp: Mapping[str, int], summaries: Summaries
) -> list[str]:
    """Name every arm that was designed or seen, `primary` first."""
    designed = {arm for design in designs for arm in design.share_bp}
    seen = {arm for _, arm in summaries}
    return list(in_order(dict.fromkeys(designed | set(share_bp) | seen)))


def _of_stage(
    stage: int, designs: Sequence[StageDesign], arms: Sequence[str], summaries: Summaries
) -> list[ArmResult]:
    """Describe the arms in one stage, or in all under `TOTAL`.

    Args:
        designs: Of that stage, or of all.
    """
    here = {arm: summaries.get((stage, arm), Summary()) for arm in arms}
    calls = sum(summary.calls for summary in here.values())
    units = sum(summary.units for summary in here.values())
    weights = {
        design.stage: sum(summaries.get((design.stage, arm), Summary()).calls for arm in arms)
        for design in designs
    }
    return [
        ArmResult(
            arm=arm,
            share=Shares(
                designed=designed_share(designs, arm, weights),
                of_units=summary.units / units if units else None,
                of_calls=summary.calls / calls if calls else None,
            ),
            **{field.name: getattr(summary, field.name) for field in fields(Summary)},
        )
        for arm, summary in here.items()
    ]
