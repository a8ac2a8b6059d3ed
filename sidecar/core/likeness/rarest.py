"""Which members of a set are its rarest? Those that the fewest other sets have."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sidecar.core.likeness.sets import Ints, Members, Sets, runs

ENOUGH_SETS = 100  # fewer say nothing about what is common
COMMON = 0.1  # a member of more of the sets than this is boilerplate, and not compared

# To count members in: twice as many as there are members. Those that meet are taken for
# commoner than they are, which costs time and nothing else.
_FEWEST_BUCKETS, _MOST_BUCKETS = 1 << 10, 1 << 24
_MEMBERS_AT_ONCE = 1 << 22
_MOST_COUNTED = 0xFFFF  # what is commoner is all the same
_HALF, _SET = np.uint64(32), np.uint64(48)

Counts = NDArray[np.int32]


def counted(sets: Sets) -> Counts:
    """Count in buckets how many sets have each member, or one that shares its bucket.

    Returns:
        Counts by the remainder of a member and their number, a power of two.
    """
    most = 2 << len(sets.members).bit_length()
    buckets = min(_MOST_BUCKETS, max(_FEWEST_BUCKETS, most))
    counts = np.zeros(buckets, dtype=np.int32)
    for some in _slices(sets.members):
        counts += np.bincount(some % buckets, minlength=buckets).astype(np.int32)
    return counts


def without_common(sets: Sets, counts: Counts) -> Sets:
    """Take boilerplate out, if there are sets enough to tell what that is.

    The sets are used up: what is left of them takes their place in memory.
    """
    limit = len(sets) * COMMON
    if len(sets) < ENOUGH_SETS:
        return sets
    is_suspect = counts > limit
    suspects = [some[is_suspect[some % len(counts)]] for some in _slices(sets.members)]
    numbers, times = np.unique(np.concatenate(suspects or [sets.members]), return_counts=True)
    common = numbers[times > limit]
    if not len(common):
        return sets
    sizes = sets.sizes.copy()
    first = taken = 0
    for some in _slices(sets.members):
        is_common = np.isin(some, common)
        owners = np.searchsorted(sets.starts, first + np.flatnonzero(is_common), side="right")
        np.subtract.at(sizes, owners - 1, 1)
        left = some[~is_common]
        sets.members[taken : taken + len(left)] = left
        taken += len(left)
        first += len(some)
    return Sets(sets.members[:taken], sizes)


def rarest(sets: Sets, counts: Counts, wanted: Ints) -> Sets:
    """List so many of each set's members, the rarest first.

    Args:
        counts: As `counted` gives them.
        wanted: Of each set, at most its size.

    Returns:
        Sets that are not sorted by number, but all by one order of rarity.
    """
    rarity = np.minimum(counts, _MOST_COUNTED).astype(np.uint16)
    found = []
    for first, last in sets.parts():
        members = sets.members[sets.starts[first] : sets.starts[last]]
        sizes = sets.sizes[first:last]
        owners = np.repeat(np.arange(last - first, dtype=np.uint64) << _SET, sizes)
        owners |= rarity[members % len(rarity)].astype(np.uint64) << _HALF
        owners |= members
        # By set, then the rarest first, and in the same order wherever rarity is equal.
        owners.sort()
        is_wanted = runs(sizes) < np.repeat(wanted[first:last], sizes)
        found.append(owners[is_wanted].astype(np.uint32))
    return Sets(np.concatenate([np.empty(0, np.uint32), *found]), wanted)


def _slices(members: Members) -> Iterator[Members]:
    for start in range(0, len(members), _MEMBERS_AT_ONCE):
        yield members[start : start + _MEMBERS_AT_ONCE]
