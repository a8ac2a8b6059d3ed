"""Near-duplicates are found as their definition has them: every one, and no other."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.likeness.near import JACCARD, MOST_PIECES, Texts, normalised, pieces_of
from sidecar.core.likeness.sets import Sets, components
from sidecar.core.likeness.similar import similar
from tests.bench.posts import posts

# ruff: noqa: S311  (texts to test with are no secrets)
WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=2 + n % 7)) for n in range(400)]


def groups_of(texts: Sequence[str], at_once: int = 1_000) -> list[int]:
    """Each text's group, as the first text of it."""
    found = Texts()
    for start in range(0, len(texts), at_once):
        found.add(texts[start : start + at_once])
    return firsts(found.groups())


def firsts(groups: Sequence[int] | np.ndarray) -> list[int]:
    seen: dict[int, int] = {}
    return [seen.setdefault(int(group), place) for place, group in enumerate(groups)]


def by_definition(texts: Sequence[str]) -> list[int]:
    """Compare every two texts, in another way than the one under test."""
    pieces = [pieces_of(text) for text in texts]
    plain = [normalised(text) for text in texts]
    groups = list(range(len(texts)))
    for later in range(len(texts)):
        for earlier in range(later):
            shared = len(pieces[later] & pieces[earlier])
            alike = shared and shared >= JACCARD * len(pieces[later] | pieces[earlier])
            if alike or plain[later] == plain[earlier]:
                old, new = groups[later], groups[earlier]
                groups = [new if group == old else group for group in groups]
    return firsts(groups)


def variants(count: int, seed: int) -> list[str]:
    """Texts of which many are others with a word or two changed."""
    dice = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and dice.random() < 0.4:
            words = dice.choice(texts).split()
            for _ in range(dice.randint(1, 3)):
                words[dice.randrange(len(words))] = dice.choice(WORDS)
        else:
            words = dice.choices(WORDS, k=dice.randint(1, 40))
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_every_near_duplicate_is_found_and_no_other(seed: int) -> None:
    texts = variants(90, seed)
    expected = by_definition(texts)
    assert 1 < len(set(expected)) < len(texts)
    assert groups_of(texts) == expected


@given(st.lists(st.text(alphabet="ab ä🙂\ud800", max_size=14), max_size=8))
def test_any_characters_are_compared_by_the_same_definition(texts: list[str]) -> None:
    assert groups_of(texts) == by_definition(texts)


def test_it_does_not_matter_how_many_texts_come_at_once() -> None:
    texts = variants(60, 7)
    assert groups_of(texts, 1) == groups_of(texts, 13) == groups_of(texts)


def test_links_handles_digits_case_and_white_space_tell_no_texts_apart() -> None:
    texts = [
        "See https://a.example/1 and ask @ann by 9:30",
        "see  https://b.example/xyz\nand ask @bob by 17:45",
        "see something else entirely",
    ]
    assert groups_of(texts) == [0, 0, 2]


def test_texts_too_short_for_a_piece_are_compared_as_a_whole() -> None:
    assert groups_of(["ab", "ab", "ac", "AB "]) == [0, 0, 2, 0]


def test_what_a_tenth_of_the_texts_share_is_boilerplate_and_not_compared() -> None:
    boilerplate = " ".join(WORDS[:60])
    texts = [f"{boilerplate} {WORDS[100 + n]}{WORDS[399 - n]}" for n in range(120)]
    assert len(set(groups_of(texts[:99]))) == 1
    assert len(set(groups_of(texts))) > 100


def test_long_texts_are_compared_by_a_sample_across_the_border_of_its_size() -> None:
    dice = random.Random(5)
    long = [dice.choice(WORDS) for _ in range(MOST_PIECES)]
    texts = [" ".join(words) for words in (long, long[:-20], long[::-1])]
    near_border = ["".join(dice.choices("abcdefgh ", k=MOST_PIECES + 3)) for _ in range(3)]
    texts += [*near_border, *(text + " and so on" for text in near_border)]
    assert groups_of(texts) == [0, 0, 2, 3, 4, 5, 3, 4, 5]


LIMITS = [(1, 1), (1, 10_000), (3, 3), (60, 60), (1_000, 2_000)]


@pytest.mark.parametrize(("many", "crowd"), LIMITS)
def test_many_sets_that_share_a_member_are_compared_however_many_they_are(
    many: int, crowd: int
) -> None:
    alike = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1_000 + n] for n in range(40)]
    others = [[1, *range(10_000 + 9 * n, 10_009 + 9 * n)] for n in range(40)]
    # So many that nothing is common: a tenth of all sets may share a member.
    alone = [[10**6 + 9 * n] for n in range(800)]
    found = similar(sets_of([*alike, *others, *alone]), 0.8, many=many, crowd=crowd)
    assert set(found[:40]) == {0}
    assert list(found[40:]) == list(range(40, len(found)))


def sets_of(sets: Sequence[Sequence[int]]) -> Sets:
    members = np.array([member for each in sets for member in sorted(each)], dtype=np.uint32)
    return Sets(members, np.array([len(each) for each in sets]))


def templated(count: int, seed: int) -> list[list[int]]:
    """Sets around a few templates, some as large as they are, some a member or many off."""
    dice = random.Random(seed)
    templates = [
        dice.sample(range(60 * kind, 60 * kind + 60), dice.randint(2, 60)) for kind in range(12)
    ]
    sets = []
    for _ in range(count):
        members = list(dice.choice(templates))
        changed = dice.randint(0, 1 + len(members) * dice.randint(0, 3) // 8)
        kept = dice.sample(members, max(0, len(members) - changed))
        new = dice.sample(range(1_000, 1_400), dice.randint(0, changed))
        sets.append(sorted({*kept, *new}))
    return sets


def by_products(sets: Sequence[Sequence[int]], share: float) -> list[int]:
    """Compare every two sets, by multiplying the whole matrix of who has what."""
    has = np.zeros((len(sets), 2_000), dtype=np.float32)
    for place, each in enumerate(sets):
        has[place, list(each)] = 1
    if len(sets) >= 100:
        has[:, has.sum(0) > len(sets) / 10] = 0  # boilerplate
    shared, sizes = has @ has.T, has.sum(1)
    alike = (shared > 0) & (shared >= share * (sizes[:, None] + sizes - shared) - 1e-6)
    groups = np.arange(len(sets))
    for _ in range(len(sets)):
        smallest = np.where(alike, groups, len(sets)).min(1)
        new = np.minimum(groups, smallest)
        if (new == groups).all():
            return [int(each) for each in groups]
        groups = new
    raise AssertionError


@pytest.mark.parametrize(("many", "crowd"), LIMITS)
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_all_similar_sets_are_found_whatever_is_asked_for_of_crowds(
    share: float, many: int, crowd: int
) -> None:
    sets = templated(300, 1)
    expected = by_products(sets, share)
    assert 10 < len(set(expected)) < 270
    found = similar(sets_of(sets), share, many=many, crowd=crowd)
    assert firsts(found) == firsts(expected)


def test_thousands_of_posts_with_planted_near_copies_fall_into_the_right_groups() -> None:
    texts = [post for _, some in posts(2_000, 700, seed=4) for post in some]
    numbers: dict[str, int] = {}
    sets = [[numbers.setdefault(p, len(numbers)) for p in pieces_of(text)] for text in texts]
    plain = {normalised(text): place for place, text in reversed(list(enumerate(texts)))}
    different = sorted(plain.values())
    common = {
        number
        for number, count in Counter(n for place in different for n in sets[place]).items()
        if count > len(different) / 10
    }
    edges = near_pairs([set(sets[place]) - common for place in different])
    groups = list(range(len(texts)))
    for one, other in edges:
        old, new = groups[different[other]], groups[different[one]]
        groups = [new if group == old else group for group in groups]
    expected = [groups[plain[normalised(text)]] for text in texts]
    assert 70 < len(texts) - len(set(expected)) < 400
    assert groups_of(texts) == firsts(expected)


def near_pairs(sets: Sequence[set[int]]) -> list[tuple[int, int]]:
    """Compare every two sets by their definition."""
    return [
        (one, other)
        for other in range(len(sets))
        for one in range(other)
        if sets[one]
        and 0.8 * len(sets[one]) <= len(sets[other]) + 1e-9
        and 0.8 * len(sets[other]) <= len(sets[one]) + 1e-9
        and len(both := sets[one] & sets[other])
        >= 0.8 * (len(sets[one]) + len(sets[other]) - len(both)) - 1e-9
    ]


def test_components_are_named_by_their_smallest_node() -> None:
    found = components(6, np.array([5, 4]), np.array([4, 1]))
    assert list(found) == [0, 1, 2, 3, 1, 1]


def test_no_text_at_all_has_no_group() -> None:
    assert groups_of([]) == []
    assert groups_of([""]) == [0]
