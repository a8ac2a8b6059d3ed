"""Does chance fall the same way in every run, and as often as it was told to?"""

import math
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.up.laboratory.dice import Occurrences, latency_s, pick, throw
from sidecar.up.laboratory.settings import Latency


def test_the_same_call_always_throws_the_same_dice() -> None:
    dice = throw(seed=1, model="m", content=b"c", occurrence=0)
    # First 8 bytes of: printf '1\nm\n0\nc' | sha512sum, over 2**64.
    assert dice.latency == pytest.approx(0x5DCE540EF0581D9B / 2**64, abs=1e-15)
    assert dice == throw(seed=1, model="m", content=b"c", occurrence=0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"seed": 2}, id="another seed"),
        pytest.param({"model": "n"}, id="another model"),
        pytest.param({"content": b"d"}, id="another question"),
        pytest.param({"occurrence": 1}, id="asked again"),
    ],
)
def test_any_other_call_throws_other_dice(other: dict[str, object]) -> None:
    call: dict[str, object] = {"seed": 1, "model": "m", "content": b"c", "occurrence": 0}
    first, second = throw(**call), throw(**{**call, **other})  # type: ignore[arg-type]
    assert not set(astuple(first)) & set(astuple(second))


def test_dice_fall_below_a_rate_as_often_as_the_rate_says() -> None:
    calls = 4000
    thrown = [throw(seed=0, model="m", content=b"c", occurrence=n) for n in range(calls)]
    for values in zip(*map(astuple, thrown), strict=True):
        below = sum(value < 0.1 for value in values)
        assert abs(below - 0.1 * calls) < 4.5 * math.sqrt(calls * 0.1 * 0.9)


def test_latency_has_the_median_and_the_95th_percentile_it_was_given() -> None:
    latency = Latency(median=100, p95=300)
    assert latency_s(latency, 0.5) == pytest.approx(0.1)
    assert latency_s(latency, 0.95) == pytest.approx(0.3)
    assert latency_s(Latency(median=100), 0.95) == 0.1
    assert latency_s(Latency(), 0.95) == 0


@given(st.floats(0, 1, exclude_max=True))
def test_latency_is_finite_and_positive_for_every_throw(uniform: float) -> None:
    drawn = latency_s(Latency(median=100, p95=300), uniform)
    assert 0 < drawn < 1000


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_a_pick_is_always_one_of_the_things(count: int, uniform: float) -> None:
    assert 0 <= pick(count, uniform) < count


def test_occurrences_are_counted_by_question() -> None:
    seen = Occurrences()
    assert [seen.next(key) for key in (b"a", b"b", b"a", b"a")] == [0, 0, 1, 2]
    seen.clear()
    assert seen.next(b"a") == 0


def test_occurrences_forget_what_was_not_asked_for_long() -> None:
    seen = Occurrences(limit=2)
    for key in (b"old", b"kept", b"old", b"new"):
        seen.next(key)
    assert seen.next(b"old") == 2
    assert seen.next(b"kept") == 0
