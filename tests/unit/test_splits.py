"""No unit, no prompt and no near-duplicate is on two sides, whatever the rows."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.datasets import Split
from sidecar.core.splits import LEFT_OUT, PLACES, Shares, divide, is_held_out

DRAWN_OF_U1 = 0.7213168236477883
ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
    min_size=1,
    max_size=80,
)
SHARES = Shares("default", "", 0.3, 0.3)


def placed(rows: list[tuple[int, int, int]], shares: Shares = SHARES) -> list[int]:
    units = [f"u-{unit}" for unit, _, _ in rows]
    prompts, near = (np.array([row[n] for row in rows], dtype=np.int64) for n in (1, 2))
    return [int(place) for place in divide(units, prompts, near, shares).places]


@given(ROWS)
def test_nothing_is_on_two_sides(rows: list[tuple[int, int, int]]) -> None:
    places = placed(rows)
    for attribute in range(3):
        sides = defaultdict(set)
        for row, place in zip(rows, places, strict=True):
            if place != LEFT_OUT:
                sides[row[attribute]].add(place)
        assert all(len(found) == 1 for found in sides.values())


@given(ROWS)
def test_only_rows_like_a_held_out_one_are_left_out(rows: list[tuple[int, int, int]]) -> None:
    places = placed(rows)
    if 2 not in places:
        assert LEFT_OUT not in places


@given(ROWS, st.text(max_size=5))
def test_the_holdout_depends_on_project_and_unit_alone(
    rows: list[tuple[int, int, int]], seed: str
) -> None:
    held = {row[0] for row, place in zip(rows, placed(rows), strict=True) if place == 2}
    other = Shares("default", seed, 0.7, 0.3)
    again = placed(rows[::-1], other)
    assert held == {row[0] for row, place in zip(rows[::-1], again, strict=True) if place == 2}
    assert held == {unit for unit, _, _ in rows if is_held_out(f"u-{unit}", SHARES)}


@given(ROWS)
def test_the_order_of_rows_moves_none(rows: list[tuple[int, int, int]]) -> None:
    order = sorted(range(len(rows)), key=lambda place: (rows[place][1], -place))
    shuffled = placed([rows[place] for place in order])
    places = placed(rows)
    assert shuffled == [places[place] for place in order]


def test_a_larger_share_only_adds_to_the_holdout() -> None:
    units = [f"u-{n}" for n in range(2_000)]
    small, large = (Shares("default", "", 0, share) for share in (0.1, 0.2))
    held = [{unit for unit in units if is_held_out(unit, shares)} for shares in (small, large)]
    assert held[0] < held[1]
    # Within four standard deviations of the shares.
    assert 146 <= len(held[0]) <= 254
    assert 328 <= len(held[1]) <= 472


def test_shares_are_kept_for_rows_that_share_nothing() -> None:
    rows = [(n, n, n) for n in range(4_000)]
    counts = np.bincount(placed(rows, Shares("default", "s", 0.25, 0.2)), minlength=3)
    assert abs(counts[2] - 800) < 100
    assert abs(counts[1] - 0.25 * (4_000 - counts[2])) < 100
    assert counts.sum() == 4_000


def test_another_seed_draws_another_validation_set() -> None:
    rows = [(n, n, n) for n in range(200)]
    assert placed(rows, Shares("p", "a", 0.3, 0.1)) != placed(rows, Shares("p", "b", 0.3, 0.1))
    assert placed(rows, Shares("p", "a", 0.3, 0.1)) != placed(rows, Shares("q", "a", 0.3, 0.1))


def test_without_shares_all_is_for_training() -> None:
    rows = [(n, n, n) for n in range(20)]
    assert {PLACES[place] for place in placed(rows, Shares("p", "", 0, 0))} == {Split.TRAIN}


def test_a_units_draw_never_changes() -> None:
    # Computed with another implementation (OpenSSL's):
    # sha256(sha256("defaultholdout") + "u-1"), its first 53 bits as a fraction.
    assert not is_held_out("u-1", Shares("default", "", 0, DRAWN_OF_U1))
    assert is_held_out("u-1", Shares("default", "", 0, DRAWN_OF_U1 + 1e-9))
