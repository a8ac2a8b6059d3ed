"""What is an experiment, and which steps may its life take?"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from sidecar.core.assignment import BUCKETS, PRIMARY, basis_points
from sidecar.core.errors import IllegalMove, Invalid, NotFound
from sidecar.core.plan import Plan
from sidecar.core.routing import Owner, UnitSource


class Status(StrEnum):
    """Where an experiment is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"


class Outcome(StrEnum):
    """How a completed experiment ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"
    INCONCLUSIVE = "inconclusive"


NEXT: dict[Status, frozenset[Status]] = {
    Status.DRAFT: frozenset({Status.ACTIVE, Status.COMPLETED}),
    Status.ACTIVE: frozenset({Status.PAUSED, Status.COMPLETED}),
    Status.PAUSED: frozenset({Status.ACTIVE, Status.COMPLETED}),
    Status.COMPLETED: frozenset(),
}

SHARE_TOLERANCE = 1e-6  # shares are typed by people: 0.333333 three times is meant as 1


@dataclass(frozen=True, slots=True)
class Hold:
    """What an ended experiment leaves in force until its group is edited in the YAML.

    Args:
        arm: The one that serves all.
        yaml_hash: Of the group's configuration when the experiment ended.
    """

    arm: str
    yaml_hash: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison of arms within one group.

    Args:
        salt: Decides the buckets; never changes, so that units keep their arms.
        arms: Deployment ids by arm; empty for the arms that the YAML names.
        share_bp: Basis points by arm, `primary` first, summing to `BUCKETS`.
        owner: `yaml` for the implicit experiment that weights alone make.
        epoch: Counts changes of the analysis plan, from 1.
        stage: Counts stretches of constant shares within the epoch, from 1; 0 in a draft.
        plan: What it is analysed and moved by; frozen for each epoch. None for one that was
            begun before there were plans.
        outcome: None until completed.
        hold: None unless it ended with an answer that is still in force.
    """

    id: str
    group: str
    project_id: str
    salt: str
    share_bp: Mapping[str, int]
    created_at: datetime
    owner: Owner = Owner.EXPERIMENT
    arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: UnitSource | None = None
    hypothesis: str | None = None
    plan: Plan | None = None
    status: Status = Status.DRAFT
    outcome: Outcome | None = None
    epoch: int = 1
    stage: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    hold: Hold | None = None


def epoch_of(experiment: Experiment, asked: int | None) -> int:
    """Say which of an experiment's epochs is asked for: the present one for None.

    Raises:
        NotFound: It has no such epoch.
    """
    epoch = experiment.epoch if asked is None else asked
    if not 1 <= epoch <= experiment.epoch:
        known = f"it has 1 to {experiment.epoch}"
        msg = f"experiment {experiment.id!r} has no epoch {epoch} ({known})"
        raise NotFound(msg)
    return epoch


def move(experiment: Experiment, to: Status, *, now: datetime) -> Experiment:
    """Take one step in the experiment's life.

    Becoming active opens a new stage: the time before a pause and the time after it are
    different stretches of traffic, though the shares are the same.

    Raises:
        IllegalMove: `to` is not in `NEXT` for the present status.
    """
    if to not in NEXT[experiment.status]:
        possible = ", ".join(sorted(NEXT[experiment.status])) or "nothing: it has ended"
        msg = (
            f"experiment {experiment.id!r} is {experiment.status}; "
            f"it cannot become {to} (it can become {possible})"
        )
        raise IllegalMove(msg)
    if to is Status.ACTIVE:
        return replace(
            experiment,
            status=to,
            stage=experiment.stage + 1,
            started_at=experiment.started_at or now,
        )
    if to is Status.COMPLETED:
        return replace(experiment, status=to, outcome=Outcome.STOPPED, ended_at=now)
    return replace(experiment, status=to)


def conclude(
    experiment: Experiment, outcome: Outcome, hold: Hold, *, now: datetime
) -> Experiment:
    """End an experiment with an answer, which holds until its group is edited.

    Raises:
        IllegalMove: It has ended, or never began.
    """
    if experiment.status not in (Status.ACTIVE, Status.PAUSED):
        msg = (
            f"experiment {experiment.id!r} is {experiment.status}; "
            f"only an active or paused one can be {outcome}"
        )
        raise IllegalMove(msg)
    ended = move(experiment, Status.COMPLETED, now=now)
    share_bp = {arm: BUCKETS if arm == hold.arm else 0 for arm in experiment.share_bp}
    return replace(ended, outcome=outcome, hold=hold, share_bp=share_bp)


def reopen(experiment: Experiment, share_bp: Mapping[str, int]) -> Experiment:
    """Take an experiment up again whose end was overruled, in a new stage.

    What it has shown so far stays in its numbers; who overruled an end knows better than
    they do, so from then on the controller only watches.

    Raises:
        IllegalMove: It is a draft, or it ended without an answer or holds its group no
            more: the group has gone on without it.
    """
    held = experiment.status is Status.COMPLETED and experiment.hold is not None
    if not held and experiment.status not in (Status.ACTIVE, Status.PAUSED):
        msg = (
            f"experiment {experiment.id!r} is {experiment.status} and holds no group; "
            "create a new one"
        )
        raise IllegalMove(msg)
    return replace(
        experiment,
        status=Status.ACTIVE,
        outcome=None,
        ended_at=None,
        hold=None,
        share_bp=dict(share_bp),
        stage=experiment.stage + 1,
    )


def with_plan(experiment: Experiment, plan: Plan) -> Experiment:
    """Change the plan; in a started experiment that opens a new epoch.

    Raises:
        IllegalMove: The experiment has ended.
    """
    if experiment.status is Status.COMPLETED:
        msg = f"experiment {experiment.id!r} has ended; its plan cannot change"
        raise IllegalMove(msg)
    if experiment.status is Status.DRAFT:
        return replace(experiment, plan=plan)
    stage = 1 if experiment.status is Status.ACTIVE else 0
    return replace(experiment, plan=plan, epoch=experiment.epoch + 1, stage=stage)


def with_shares(experiment: Experiment, share_bp: Mapping[str, int]) -> Experiment:
    """Change the shares; in a started experiment that opens a new stage.

    Raises:
        IllegalMove: The experiment has ended.
    """
    if experiment.status is Status.COMPLETED:
        msg = f"experiment {experiment.id!r} has ended; its shares cannot change"
        raise IllegalMove(msg)
    opened = experiment.stage + 1 if experiment.status is Status.ACTIVE else experiment.stage
    return replace(experiment, share_bp=dict(share_bp), stage=opened)


def shares_to_bp(shares: Mapping[str, float]) -> dict[str, int]:
    """Turn a person's shares into basis points, `primary` first.

    Args:
        shares: Probabilities by arm; there is a `primary`, and they sum to 1.

    Raises:
        Invalid: No primary, fewer than two arms, a share outside [0, 1], a sum other than
            1, or a share finer than a basis point.
    """
    if PRIMARY not in shares or len(shares) == 1:
        msg = f"shares name the arms {sorted(shares)}; expected 'primary' and a canary"
        raise Invalid(msg)
    outside = {arm: share for arm, share in shares.items() if not 0 <= share <= 1}
    if outside:
        msg = f"shares must lie between 0 and 1, found {outside}"
        raise Invalid(msg)
    total = sum(shares.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        msg = f"shares must sum to 1, found {total:.6g} in {dict(shares)}"
        raise Invalid(msg)
    tiny = {arm: share for arm, share in shares.items() if 0 < share < 1 / BUCKETS}
    if tiny:
        msg = f"the smallest share above 0 is {1 / BUCKETS}, found {tiny}"
        raise Invalid(msg)
    order = [PRIMARY, *sorted(arm for arm in shares if arm != PRIMARY)]
    return basis_points({arm: shares[arm] for arm in order})
