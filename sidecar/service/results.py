"""What has an experiment shown so far? What it adds up to, and what follows from that."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.cells import Cell
from sidecar.core.decision import Decision, is_stale
from sidecar.core.experiments import Experiment, epoch_of
from sidecar.core.latency import latency_finding
from sidecar.core.pairing import Cells, pairings
from sidecar.core.plan import Plan, plan_hash
from sidecar.core.plan_reading import plan_from
from sidecar.core.quality import arm_quality
from sidecar.core.ramp import is_time_met
from sidecar.core.report import (
    Conclusion,
    Inference,
    Metric,
    Results,
    StageNow,
    ValidityReport,
)
from sidecar.core.results import (
    ArmResult,
    Shares,
    StageDesign,
    StageResult,
    Summary,
    designed_share,
)
from sidecar.core.summaries import summary_of
from sidecar.service.looking import Sight, designs_of, sight
from sidecar.service.reconciliation import reconcile
from sidecar.store import epochs, experiments, generations, totals
from sidecar.store.experiments import in_order

TOTAL = 0  # in place of a stage's number, which counts from 1

Summaries = Mapping[tuple[int, str], Summary]


async def results(
    tx: AsyncConnection,
    experiment_id: str,
    *,
    handoff: Path,
    now: datetime,
    epoch: int | None = None,
    project_id: str | None = None,
) -> Results:
    """Describe an experiment's calls by arm and stage, and what its plan infers from them.

    Args:
        handoff: The shared volume, to compare what was served with what is stored.
        epoch: None for the present one.
        project_id: Who asks sees only this project's experiments; None for all.

    Raises:
        NotFound: There is no such experiment, or it has no such epoch.
    """
    experiment = (await experiments.get(tx, experiment_id, project_id=project_id)).experiment
    epoch = epoch_of(experiment, epoch)
    plan = await _plan(tx, experiment, epoch)
    seen = None if plan is None else await sight(tx, experiment, plan, now, epoch=epoch)
    inferred = Inference() if seen is None else _inference(seen)
    designs = await designs_of(tx, experiment.id, epoch) if seen is None else seen.designs
    cells = await totals.of_epoch(tx, experiment.id, epoch) if seen is None else seen.cells
    summaries = _summaries(cells)
    designs = _with_unrecorded(designs, summaries)
    arms = _arms(designs, experiment.share_bp, summaries)
    return Results(
        experiment_id=experiment.id,
        name=experiment.hypothesis,
        group=experiment.group,
        status=experiment.status.value,
        outcome=None if experiment.outcome is None else experiment.outcome.value,
        held_arm=None if experiment.hold is None else experiment.hold.arm,
        as_of=now,
        epoch=epoch,
        arms=_of_stage(TOTAL, designs, arms, summaries),
        stages=[_stage_result(design, arms, summaries) for design in designs],
        reconciliation=await reconcile(tx, handoff),
        generation=await generations.number(tx),
        **{field.name: getattr(inferred, field.name) for field in fields(Inference)},
    )


async def _plan(tx: AsyncConnection, experiment: Experiment, epoch: int) -> Plan | None:
    """Fetch the plan that was frozen for the epoch; a draft's is not frozen yet."""
    frozen = (await epochs.plans(tx, [(experiment.id, epoch)])).get((experiment.id, epoch))
    return experiment.plan if frozen is None else plan_from(frozen)


def _inference(seen: Sight) -> Inference:
    plan, found = seen.plan, seen.analysis
    concluded = [_conclusion(seen, arm, decision) for arm, decision in seen.decided.items()]
    return Inference(
        mode=plan.mode.value,
        goal_type=plan.goal.objective.value,
        look=seen.look,
        plan_hash=plan_hash(plan),
        stage=_stage_now(seen),
        decision=concluded[0],
        decisions=concluded,
        validity=ValidityReport(
            **{name: getattr(found.validity, name) for name in _VALIDITY},
            stale=is_stale(plan, next(iter(seen.readings.values()))),
        ),
        metrics=_metrics(seen),
        planning=found.planning,
        method=found.method,
    )


_VALIDITY = ("srm", "multi_arm_units", "multi_arm_share", "audit_return")


def _metrics(seen: Sight) -> list[Metric]:
    """List the goal, the guardrails, and what is told beside them."""
    found = seen.analysis
    metrics: list[Metric] = [*found.goals, *found.guardrails, *found.label_shift]
    metrics.extend(
        latency_finding(pairings(seen.designs, seen.cells, arm), arm, seen.plan.alpha)
        for arm in seen.plan.canaries
    )
    if seen.plan.labels:
        metrics.extend(
            arm_quality(arm, _whole(seen.cells, arm), seen.plan.labels)
            for arm in (PRIMARY, *seen.plan.canaries)
        )
    return metrics


def _whole(cells: Cells, arm: str) -> Cell:
    return sum((cell for (_, each), cell in cells.items() if each == arm), Cell({}))


def _conclusion(seen: Sight, arm: str, decision: Decision) -> Conclusion:
    noted = next((d for d in seen.noted if d.state == decision.state.value), None)
    return Conclusion(
        arm=arm,
        state=decision.state,
        action=decision.action,
        latched=decision.is_latched,
        automatic=decision.is_automatic,
        decided_at=None if noted is None else noted.at,
        reasons=decision.reasons,
        text=decision.text,
        false_promote_bound=seen.analysis.method.false_promote_bound,
        false_rollback_bound=seen.analysis.method.false_rollback_bound,
    )


def _stage_now(seen: Sight) -> StageNow | None:
    if not seen.designs:
        return None
    went, plan, present = seen.progress, seen.plan, seen.designs[-1]
    step = None if went.step is None else plan.ramp[went.step]
    return StageNow(
        stage=present.stage,
        index=None if went.step is None else went.step + 1,
        of=len(plan.ramp),
        canary_share=went.canary_bp / BUCKETS,
        entered_at=present.started_at,
        min_time_met=None
        if went.step is None
        else is_time_met(plan, went.step, went.step_run_s),
        min_units_met=None if step is None else went.step_units >= step.min_units,
    )


def _summaries(cells: Cells) -> dict[tuple[int, str], Summary]:
    """Describe each cell, and each arm over all stages under the stage `TOTAL`."""
    arms = {arm for _, arm in cells}
    return {
        **{place: summary_of(cell) for place, cell in cells.items()},
        **{(TOTAL, arm): summary_of(_whole(cells, arm)) for arm in arms},
    }


def _with_unrecorded(designs: Sequence[StageDesign], summaries: Summaries) -> list[StageDesign]:
    """Add the stages that have calls, but no record."""
    recorded = {design.stage for design in designs}
    others = {stage for stage, _ in summaries} - recorded - {TOTAL}
    return sorted(
        (*designs, *(StageDesign(stage, {}) for stage in others)), key=lambda d: d.stage
    )


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
