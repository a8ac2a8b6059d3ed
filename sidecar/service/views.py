"""How is an experiment shown? With shares as probabilities, and a version that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sidecar.core.assignment import BUCKETS
from sidecar.core.experiments import Outcome, Status
from sidecar.core.plan import plan_hash, to_document
from sidecar.core.routing import Owner, UnitSource
from sidecar.store.experiments import Stored
from sidecar.store.stages import Stage


@dataclass(frozen=True, slots=True)
class StageView:
    """A stretch of constant shares; shares are probabilities."""

    epoch: int
    stage: int
    shares: Mapping[str, float]
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """An experiment as it is shown.

    Args:
        shares: Probabilities by arm, `primary` first.
        arms: Deployment ids by arm.
        plan: Complete, with every default; None for one begun before there were plans.
        held_arm: The arm that its end left in force; None when it left none, or no more.
        version: Counts its changes.
        stages: Filled when one experiment is asked for, not in lists.
    """

    id: str
    group: str
    project_id: str
    owner: Owner
    status: Status
    outcome: Outcome | None
    shares: Mapping[str, float]
    arms: Mapping[str, Sequence[str]]
    unit: UnitSource | None
    hypothesis: str | None
    salt: str
    plan: Mapping[str, Any] | None
    plan_hash: str | None
    held_arm: str | None
    epoch: int
    stage: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    version: int
    stages: Sequence[StageView] = ()


def view(stored: Stored, found: Sequence[Stage] = ()) -> ExperimentView:
    """Show a stored experiment."""
    experiment = stored.experiment
    return ExperimentView(
        id=experiment.id,
        group=experiment.group,
        project_id=experiment.project_id,
        owner=experiment.owner,
        status=experiment.status,
        outcome=experiment.outcome,
        shares=_probabilities(experiment.share_bp),
        arms={arm: list(ids) for arm, ids in experiment.arms.items()},
        unit=experiment.unit,
        hypothesis=experiment.hypothesis,
        salt=experiment.salt,
        plan=None if experiment.plan is None else to_document(experiment.plan),
        plan_hash=None if experiment.plan is None else plan_hash(experiment.plan),
        held_arm=None if experiment.hold is None else experiment.hold.arm,
        epoch=experiment.epoch,
        stage=experiment.stage,
        created_at=experiment.created_at,
        started_at=experiment.started_at,
        ended_at=experiment.ended_at,
        version=stored.version,
        stages=[
            StageView(s.epoch, s.stage, _probabilities(s.share_bp), s.started_at, s.ended_at)
            for s in found
        ],
    )


def _probabilities(share_bp: Mapping[str, int]) -> dict[str, float]:
    return {arm: bp / BUCKETS for arm, bp in share_bp.items()}
