"""Posts that nobody wrote, with words as uneven as in real ones."""

from collections.abc import Iterator

import numpy as np

WORDS = 20_000
FEWEST, MOST = 8, 40  # words of a post
NEAR_COPIES, COPIES = 0.05, 0.02
BEFORE = 1_000  # how far back what is copied may be

_BEGINNINGS = ("", *"bcdfghjklmnprstvwz", "ch", "sh", "th", "st", "tr", "pl", "gr", "cl")
_MIDDLES = ("a", "e", "i", "o", "u", "ea", "ou", "ai", "ee", "y")
_ENDS = ("", "", *"nrstldmck", "ng", "nt", "st", "ll")


def posts(count: int, at_once: int, seed: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Make so many posts, some at a time, each time the number of the first one with them."""
    dice = np.random.default_rng(seed)
    words = _words(dice)
    shares = 1 / np.arange(1, len(words) + 1)
    sums = np.cumsum(shares / shares.sum())
    made: list[list[str]] = []
    for first in range(0, count, at_once):
        number = min(at_once, count - first)
        sizes = dice.integers(FEWEST, MOST, number, endpoint=True)
        drawn = np.minimum(np.searchsorted(sums, dice.random(sizes.sum())), len(words) - 1)
        ends = np.cumsum(sizes)
        kinds = dice.random(number)
        made = made[-BEFORE:]
        kept = len(made)
        for end, size, kind in zip(ends, sizes, kinds, strict=True):
            own = [words[word] for word in drawn[end - size : end]]
            made.append(_copied(own, made, kind, dice))
        yield first, [" ".join(each) for each in made[kept:]]


def _words(dice: np.random.Generator) -> list[str]:
    """Make words, the shorter ones first, as the commonest ones are."""
    found: dict[str, None] = {}  # a set's order is another one in every process
    while len(found) < WORDS:
        syllables = 1 + int(dice.integers(0, 4))
        found["".join(_syllable(dice) for _ in range(syllables))] = None
    return sorted(found, key=lambda word: (len(word) + 6 * dice.random(), word))


def _syllable(dice: np.random.Generator) -> str:
    sounds = _BEGINNINGS, _MIDDLES, _ENDS
    return "".join(some[int(dice.integers(len(some)))] for some in sounds)


def _copied(
    own: list[str], before: list[list[str]], kind: float, dice: np.random.Generator
) -> list[str]:
    """Give a post's own words, or those of one before, of a near-copy all but one."""
    if not before or kind >= NEAR_COPIES + COPIES:
        return own
    words = list(before[-1 - int(dice.integers(min(len(before), BEFORE)))])
    if kind < NEAR_COPIES:
        words[int(dice.integers(len(words)))] = own[0]
    return words
