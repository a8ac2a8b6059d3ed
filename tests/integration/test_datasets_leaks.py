"""Nothing of what is held out, or validated on, is in the training rows, not even nearly."""

import itertools
import random
from collections import defaultdict

import pytest

from sidecar.core.likeness.near import JACCARD, normalised, pieces_of
from sidecar.core.splits import LEFT_OUT, Shares
from tests.leaks import Rows, divided, made_rows

SHARES = Shares("default", "seed", 0.1, 0.1)
ROWS = 100_000
RANDOM_PAIRS = 20_000


@pytest.fixture(scope="module")
def rows() -> Rows:
    return made_rows(ROWS, 11)


@pytest.fixture(scope="module")
def places(rows: Rows) -> list[int]:
    return [int(place) for place in divided(rows, SHARES).places]


def test_all_splits_are_filled_and_little_is_left_out(places: list[int]) -> None:
    shares = {place: places.count(place) / ROWS for place in (0, 1, 2, LEFT_OUT)}
    assert shares[0] > 0.5
    assert shares[1] > 0.02
    assert 0.08 < shares[2] < 0.12
    assert 0 < shares[LEFT_OUT] < 0.2


def test_no_unit_and_no_prompt_is_on_two_sides(rows: Rows, places: list[int]) -> None:
    for values in (rows.units, rows.texts):
        sides = defaultdict(set)
        for value, place in zip(values, places, strict=True):
            if place != LEFT_OUT:
                sides[value].add(place)
        assert [value for value, found in sides.items() if len(found) > 1] == []


def test_no_near_duplicate_is_on_two_sides(rows: Rows, places: list[int]) -> None:
    """Compare by the definition, within each family and at random among all."""
    families = defaultdict(list)
    for row, family in enumerate(rows.families):
        if places[row] != LEFT_OUT:
            families[family].append(row)
    dice = random.Random(3)  # noqa: S311  (no secret)
    pairs = [tuple(dice.sample(range(ROWS), 2)) for _ in range(RANDOM_PAIRS)]
    pairs += [pair for some in families.values() for pair in itertools.combinations(some, 2)]
    across = [
        (one, other)
        for one, other in pairs
        if places[one] != places[other] and LEFT_OUT not in (places[one], places[other])
    ]
    assert len(across) > RANDOM_PAIRS / 10
    assert [pair for pair in across if is_near(rows.texts[pair[0]], rows.texts[pair[1]])] == []


def test_there_were_near_duplicates_to_leak(rows: Rows, places: list[int]) -> None:
    by_chance = [dice_place(unit) for unit in range(ROWS)]
    families = defaultdict(list)
    for row, family in enumerate(rows.families):
        families[family].append(row)
    leaks = sum(
        by_chance[one] != by_chance[other] and is_near(rows.texts[one], rows.texts[other])
        for some in itertools.islice(families.values(), 5_000)
        for one, other in itertools.combinations(some, 2)
    )
    assert leaks > 100


def dice_place(row: int) -> int:
    """Place a row as somebody would who splits rows at random."""
    return 1 if row * 2_654_435_761 % 2**32 < 0.1 * 2**32 else 0


def is_near(one: str, other: str) -> bool:
    pieces, others = pieces_of(one), pieces_of(other)
    if not pieces or not others:
        return normalised(one) == normalised(other)
    return len(pieces & others) >= JACCARD * len(pieces | others)
