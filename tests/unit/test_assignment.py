import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.assignment import (
    BUCKETS,
    arm_of,
    basis_points,
    bucket_of,
    ranges,
    stable_unit,
)
from sidecar.core.errors import Invalid

units = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
names = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4, unique=True)


@st.composite
def shares(draw: st.DrawFn) -> dict[str, int]:
    canaries = draw(names)
    cuts = sorted(draw(st.integers(0, BUCKETS)) for _ in canaries)
    sizes = [high - low for low, high in zip([0, *cuts], cuts, strict=False)]
    return {"primary": BUCKETS - sum(sizes), **dict(zip(canaries, sizes, strict=True))}


def arm_at(bucket: int, share_bp: dict[str, int]) -> str:
    return arm_of(bucket, ranges(share_bp))


@pytest.mark.parametrize(
    ("unit", "salt", "bucket"),
    [
        # The first is the design's, also given by PostgreSQL; the others by `sha256sum`
        # and `bc`: sha256(sha256(salt) || unit), its first 14 hex digits, mod 10000.
        ("u-1", "exp-1", 9701),
        ("u-2", "exp-1", 9255),
        ("é", "exp-1", 9196),
    ],
)
def test_buckets_are_those_another_implementation_gives(
    unit: str, salt: str, bucket: int
) -> None:
    assert bucket_of(unit, salt=salt) == bucket


@given(units, units)
def test_a_bucket_is_the_documented_formula(unit: str, salt: str) -> None:
    inner = hashlib.sha256(salt.encode()).digest()
    digits = hashlib.sha256(inner + unit.encode()).hexdigest()[:14]
    assert bucket_of(unit, salt=salt) == int(digits, 16) % 10_000


@given(shares())
def test_every_bucket_has_one_arm_and_every_arm_its_share(share_bp: dict[str, int]) -> None:
    pieces = ranges(share_bp)
    assert [p.start for p in pieces] == [0, *(p.end for p in pieces)][:-1]
    assert pieces[-1].end == BUCKETS
    for arm, share in share_bp.items():
        assert sum(p.end - p.start for p in pieces if p.arm == arm) == share


@given(st.integers(0, BUCKETS - 1), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_the_canarys_share_never_moves_a_unit_off_it(
    bucket: int, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    if arm_at(bucket, {"primary": BUCKETS - low, "canary": low}) == "canary":
        assert arm_at(bucket, {"primary": BUCKETS - high, "canary": high}) == "canary"


@given(shares(), st.data())
def test_with_several_canaries_raising_one_never_moves_a_unit_off_it(
    share_bp: dict[str, int], data: st.DataObject
) -> None:
    canary = data.draw(st.sampled_from(sorted(set(share_bp) - {"primary"})))
    more = data.draw(st.integers(0, share_bp["primary"]))
    raised = share_bp | {
        canary: share_bp[canary] + more,
        "primary": share_bp["primary"] - more,
    }
    before, after = ranges(share_bp), ranges(raised)
    for piece in before:
        if piece.arm == canary:
            assert arm_of(piece.start, after) == arm_of(piece.end - 1, after) == canary


@given(st.integers(0, 2_500), st.integers(0, 2_500), st.integers(0, BUCKETS - 1))
def test_a_canary_within_its_quarter_of_four_takes_units_from_the_primary_only(
    low: int, high: int, bucket: int
) -> None:
    others = {"b": 2_500, "c": 700, "d": 1}
    first = {"primary": BUCKETS - 3_201 - low, "a": low, **others}
    second = {"primary": BUCKETS - 3_201 - high, "a": high, **others}
    moved = {arm_at(bucket, first), arm_at(bucket, second)}
    assert len(moved) == 1 or moved == {"a", "primary"}


@given(shares())
def test_the_order_in_which_arms_are_named_moves_nobody(share_bp: dict[str, int]) -> None:
    assert ranges(dict(reversed(share_bp.items()))) == ranges(share_bp)


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e6), min_size=1))
def test_weights_become_points_that_sum_and_are_fair(weights: dict[str, float]) -> None:
    total = sum(weights.values())
    if not total:
        return
    points = basis_points(weights)
    assert sum(points.values()) == BUCKETS
    for arm, weight in weights.items():
        assert (points[arm] > 0) == (weight > 0)
        # One point of rounding, and one for each tiny arm that was lifted to a point.
        assert abs(points[arm] - weight / total * BUCKETS) <= 1 + len(weights)


@pytest.mark.parametrize(
    "weights", [{"a": -1.0}, {"a": float("nan")}, {"a": float("inf")}, {"a": 0.0}, {}]
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        basis_points(weights)


@pytest.mark.parametrize("share_bp", [{"primary": 9_999}, {"primary": 10_001, "canary": -1}])
def test_shares_that_do_not_sum_are_refused(share_bp: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        ranges(share_bp)


@pytest.mark.parametrize("raw", ["u\x00", "\ud800", "x" * 10_000, "x" * 201])
def test_a_unit_that_cannot_be_stored_is_hashed_the_same_every_time(raw: str) -> None:
    assert stable_unit(raw) == stable_unit(raw)
    assert stable_unit(raw).startswith("sha256:")
    assert stable_unit(raw + "y") != stable_unit(raw)


def test_an_ordinary_unit_stays_readable() -> None:
    assert stable_unit("@someone é") == "@someone é"


def test_ten_thousand_units_spread_evenly() -> None:
    counts = [0] * 10
    for number in range(10_000):
        counts[bucket_of(f"unit-{number}", salt="even") // 1_000] += 1
    # Chi-squared with 9 degrees of freedom: 27.88 is the 0.999 quantile.
    assert sum((count - 1_000) ** 2 / 1_000 for count in counts) < 27.88
