"""The life of an experiment: which step may follow which, and what a step changes."""

from datetime import timedelta
from itertools import pairwise, product

import pytest

from sidecar.core.errors import IllegalMove, Invalid
from sidecar.core.experiments import NEXT, Outcome, Status, move, shares_to_bp, with_shares
from tests.configurations import NOON, experiment

LATER = NOON + timedelta(hours=1)
ALLOWED = {
    *product([Status.DRAFT], [Status.ACTIVE, Status.COMPLETED]),
    *product([Status.ACTIVE], [Status.PAUSED, Status.COMPLETED]),
    *product([Status.PAUSED], [Status.ACTIVE, Status.COMPLETED]),
}


def test_every_status_says_what_may_follow_it() -> None:
    assert set(NEXT) == set(Status)


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_a_step_is_taken_or_refused_as_the_table_says(before: Status, after: Status) -> None:
    found = experiment(status=before)
    if (before, after) in ALLOWED:
        assert move(found, after, now=LATER).status is after
        return
    with pytest.raises(IllegalMove, match=f"'exp-1' is {before}; it cannot become {after}"):
        move(found, after, now=LATER)


def test_a_refused_step_says_what_is_possible() -> None:
    with pytest.raises(IllegalMove, match=r"it can become active, completed"):
        move(experiment(status=Status.PAUSED), Status.DRAFT, now=LATER)
    with pytest.raises(IllegalMove, match=r"nothing: it has ended"):
        move(experiment(status=Status.COMPLETED), Status.ACTIVE, now=LATER)


def test_each_activation_is_a_new_stage_and_only_the_first_is_the_start() -> None:
    path = [Status.ACTIVE, Status.PAUSED, Status.ACTIVE, Status.PAUSED, Status.ACTIVE]
    lived = [experiment(status=Status.DRAFT, stage=0)]
    for hours, status in enumerate(path):
        lived.append(move(lived[-1], status, now=NOON + timedelta(hours=hours)))
    assert [found.stage for found in lived] == [0, 1, 1, 2, 2, 3]
    assert {found.started_at for found in lived[1:]} == {NOON}
    # What decides the buckets never changes: units keep their arms.
    assert all(a.salt == b.salt and a.share_bp == b.share_bp for a, b in pairwise(lived))


def test_an_end_has_a_moment_and_is_a_stop_unless_someone_concludes() -> None:
    ended = move(experiment(), Status.COMPLETED, now=LATER)
    assert (ended.outcome, ended.ended_at) == (Outcome.STOPPED, LATER)
    assert experiment().outcome is None


@pytest.mark.parametrize(
    ("status", "stages"), [(Status.DRAFT, 0), (Status.ACTIVE, 1), (Status.PAUSED, 0)]
)
def test_new_shares_open_a_stage_only_while_calls_are_split(
    status: Status, stages: int
) -> None:
    changed = with_shares(
        experiment(status=status, stage=3), {"primary": 9_000, "canary": 1_000}
    )
    assert changed.stage == 3 + stages
    assert changed.share_bp == {"primary": 9_000, "canary": 1_000}


def test_the_shares_of_an_ended_experiment_do_not_change() -> None:
    with pytest.raises(IllegalMove, match="has ended"):
        with_shares(experiment(status=Status.COMPLETED), {"primary": 10_000})


@pytest.mark.parametrize(
    ("shares", "points"),
    [
        ({"canary": 0.2, "primary": 0.8}, {"primary": 8_000, "canary": 2_000}),
        ({"primary": 1.0, "canary": 0.0}, {"primary": 10_000, "canary": 0}),
        (
            {"b": 0.333333, "primary": 0.333333, "a": 0.333334},
            {"primary": 3_333, "a": 3_334, "b": 3_333},
        ),
        ({"primary": 0.9999, "canary": 0.0001}, {"primary": 9_999, "canary": 1}),
    ],
)
def test_a_persons_shares_become_points_with_the_primary_first(
    shares: dict[str, float], points: dict[str, int]
) -> None:
    assert list(shares_to_bp(shares).items()) == list(points.items())


@pytest.mark.parametrize(
    ("shares", "complaint"),
    [
        ({"primary": 1.0}, "expected 'primary' and a canary"),
        ({"canary": 0.5, "other": 0.5}, "expected 'primary' and a canary"),
        ({}, "expected 'primary' and a canary"),
        ({"primary": 1.5, "canary": -0.5}, "between 0 and 1"),
        ({"primary": float("nan"), "canary": 1.0}, "between 0 and 1"),
        ({"primary": 0.5, "canary": 0.4}, "must sum to 1, found 0.9"),
        ({"primary": 0.99999, "canary": 0.00001}, "smallest share above 0"),
    ],
)
def test_shares_that_cannot_be_meant_are_refused_with_what_was_found(
    shares: dict[str, float], complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        shares_to_bp(shares)
