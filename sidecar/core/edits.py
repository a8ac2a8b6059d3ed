"""How much of a text did an edit change, and is that enough to learn from?"""

from collections import Counter
from collections.abc import Iterable

# An edit of more characters than this is never small: to find out how large exactly takes
# time that grows with its square.
MANY = 200
_STRIDE = 64  # characters compared at once
_GRAM = 8  # characters of the runs that two texts may share
_COUNTED = 200_000  # characters of both texts, of which the runs still fit into memory


def normalised(text: str) -> str:
    """Give a text with each run of white space as one blank, and none around it."""
    return " ".join(text.split())


def is_small_edit(before: str, after: str, limit: float) -> bool:
    """Whether an edit's distance is under a share of the longer text.

    Args:
        before, after: White space is normalised first.
        limit: A share in [0, 1] of the longer text's characters; 0: no edit is small.

    Example:
        >>> is_small_edit("Thank yuo for asking.", "Thank you for asking.", 0.1)
        True
    """
    before, after = normalised(before), normalised(after)
    longer = max(len(before), len(after))
    # A distance of exactly the limit is not under it.
    most = min(-int(-limit * longer // 1) - 1, MANY)
    return most >= 0 and distance_within(before, after, most) is not None


def distance_within(before: str, after: str, most: int) -> int | None:
    """Give the edit distance of two texts if it is no more than so much.

    Characters inserted, deleted or replaced count one each.

    Returns:
        None when it is more than `most`.

    Source:
        Ukkonen, "Algorithms for approximate string matching", Information and Control 64,
        1985: how far each diagonal is reached by 0, 1, 2, ... edits.
    """
    if _at_least(before, after) > most:
        return None
    goal = len(after) - len(before)
    reached = {0: _slide(before, after, 0, 0)}
    for edits in range(most + 1):
        if reached.get(goal, -1) >= len(before):
            return edits
        reached = _one_more(before, after, reached, edits + 1)
    return None


def _one_more(before: str, after: str, reached: dict[int, int], edits: int) -> dict[int, int]:
    """Say how far each diagonal is reached by one edit more.

    Args:
        reached: Characters of `before` that are done with, by how far `after` is ahead.
    """
    found = {}
    for ahead in range(-edits, edits + 1):
        done = max(
            reached.get(ahead, -2) + 1,  # replaced
            reached.get(ahead - 1, -2),  # inserted
            reached.get(ahead + 1, -2) + 1,  # deleted
        )
        done = min(done, len(before), len(after) - ahead)
        if done >= 0 and done + ahead >= 0:
            found[ahead] = _slide(before, after, done, ahead)
    return found


def _slide(before: str, after: str, done: int, ahead: int) -> int:
    """Go on while the two are equal."""
    while before[done : done + _STRIDE] == after[done + ahead : done + ahead + _STRIDE]:
        if done >= len(before):
            return len(before)
        done += _STRIDE
    while done < len(before) and done + ahead < len(after):
        if before[done] != after[done + ahead]:
            break
        done += 1
    return done


def _at_least(before: str, after: str) -> int:
    """Give a bound from below, which is quick where much was written anew.

    An edit takes one character away or puts one in, and spoils `_GRAM` runs of so many.

    Source:
        Ukkonen, "Approximate string-matching with q-grams and maximal matches", Theoretical
        Computer Science 92, 1992.
    """
    by_character = _only_one_has(before, after)
    if len(before) + len(after) > _COUNTED:
        return by_character
    runs = [
        [text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1)]
        for text in (before, after)
    ]
    return max(by_character, -(-_only_one_has(*runs) // _GRAM))


def _only_one_has(before: Iterable[str], after: Iterable[str]) -> int:
    here, there = Counter(before), Counter(after)
    return max((here - there).total(), (there - here).total())
