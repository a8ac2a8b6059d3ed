"""Is an edit small? Compared with a distance computed the plain way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.edits import MANY, distance_within, is_small_edit, normalised

WORDS = st.text("ab ", max_size=12)


def plain_distance(before: str, after: str) -> int:
    """Fill the whole table of Wagner and Fischer."""
    row = list(range(len(after) + 1))
    for i, here in enumerate(before, 1):
        last, row[0] = row[0], i
        for j, there in enumerate(after, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (here != there))
    return row[-1]


@given(WORDS, WORDS, st.integers(0, 14))
def test_the_distance_is_the_plain_one_wherever_it_is_within(
    before: str, after: str, most: int
) -> None:
    expected = plain_distance(before, after)
    assert distance_within(before, after, most) == (expected if expected <= most else None)


@settings(deadline=None)  # the plain way takes its time
@given(
    st.text("abcdefgh", min_size=20, max_size=60),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 3), st.text("xy", max_size=3))),
    st.integers(0, 20),
)
def test_a_text_that_was_changed_in_places_is_never_thought_further_away_than_it_is(
    before: str, changes: list[tuple[int, int, str]], most: int
) -> None:
    after = before
    for place, taken, put in changes:
        after = after[:place] + put + after[place + taken :]
    expected = plain_distance(before, after)
    assert distance_within(before, after, most) == (expected if expected <= most else None)


@settings(deadline=None)  # the plain way takes its time
@given(
    st.text("ab", max_size=3),
    st.text("ab", max_size=3),
    st.text("ab", min_size=40, max_size=50),
)
def test_long_texts_that_agree_in_the_middle_are_compared_as_well(
    before: str, after: str, middle: str
) -> None:
    here, there = before + middle * 3 + after, after + middle * 3 + before
    assert distance_within(here, there, 12) == plain_distance(here, there)


@given(WORDS, WORDS, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
def test_a_small_edit_is_under_the_share_of_the_longer_text(
    before: str, after: str, limit: float
) -> None:
    here, there = normalised(before), normalised(after)
    longer = max(len(here), len(there))
    assert is_small_edit(before, after, limit) == (plain_distance(here, there) < limit * longer)


@pytest.mark.parametrize(
    ("limit", "is_small"),
    [
        pytest.param(0.0, False, id="off"),
        pytest.param(0.1, False, id="exactly a tenth is not under it"),
        pytest.param(0.11, True, id="just under"),
    ],
)
def test_one_of_ten_characters(limit: float, is_small: bool) -> None:
    assert is_small_edit("abcdefghij", "abcdefghiX", limit) is is_small


def test_an_edit_of_many_characters_is_never_small() -> None:
    text = "0123456789" * 50_000
    assert is_small_edit(text, "X" * MANY + text[MANY:], 0.5)
    assert not is_small_edit(text, "X" * (MANY + 1) + text[MANY + 1 :], 0.5)
