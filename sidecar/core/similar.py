"""Which of many sets share at least so much of their members? All that do, and quickly.

Two sets of a Jaccard index of `share` or more must share one of each one's rarest members, of
which so few need looking at (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006; Xiao
and others, WWW 2008). What is left is thinned out by the sets' sizes and by parity bits, which
never refuse a pair that is similar, and then counted. So nothing is missed by chance.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ENOUGH_SETS = 100  # fewer say nothing about what is common
COMMON = 0.1  # a member of more of the sets than this is boilerplate, and not compared

# To count members in: twice as many as there are members. Those that meet are taken for
# commoner than they are, which costs time and nothing else.
_FEWEST_BUCKETS, _MOST_BUCKETS = 1 << 10, 1 << 24
_PARITY_WORDS = 4  # of 64 bits, kept of each set
_AT_ONCE = 1 << 14  # sets; at most 1 << 16, for their number has 16 bits
_PAIRS_AT_ONCE = 1 << 20
_MEMBERS_AT_ONCE = 1 << 22
CROWD = 2_000
_HALF = np.uint64(32)
_LATE = np.uint64(1 << 31)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio

Ints = NDArray[np.int64]
Members = NDArray[np.uint32]


class Sets:
    """Sets of numbers, one after the other.

    Args:
        members: Of each set, sorted and different.
        sizes: How many each set has.
    """

    def __init__(self, members: Members, sizes: Ints) -> None:
        self.members = members
        self.sizes = sizes
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    def parts(self, most: int) -> Iterator[tuple[int, int]]:
        """Give ranges of so many sets at most that follow each other."""
        for first in range(0, len(self), most):
            yield first, min(first + most, len(self))


def similar(sets: Sets, share: float, *, crowd: int = CROWD) -> Ints:
    """Group sets by their similarity, and what is linked through others.

    Args:
        share: Jaccard index, above 0, from which on two sets are similar. Empty sets are
            similar to none.
        crowd: If more sets than this share a member, each is compared with all others that
            are not of its group yet; fewer are compared by pairs, all at once.

    Returns:
        For each set the first one of its group.
    """
    buckets = _counted(sets.members)
    if len(sets) >= ENOUGH_SETS:
        sets = _without_common(sets, buckets)
    return _Grouping(sets, share, crowd).run(_rarest(sets, buckets, share))


def components(count: int, one: Ints, other: Ints) -> Ints:
    """Find the connected parts of a graph.

    Args:
        count: Of nodes.
        one: One end of each edge. `other`: the other.

    Returns:
        For each node the smallest node of its part.
    """
    edges = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(count, count))
    _, parts = connected_components(edges, directed=False)
    _, first = np.unique(parts, return_index=True)
    smallest: Ints = first[parts].astype(np.int64)
    return smallest


def _counted(members: Members) -> Ints:
    """Count in buckets how many sets have each member, or one that shares its bucket.

    Returns:
        Counts by the remainder of a member and their number, a power of two.
    """
    buckets = min(_MOST_BUCKETS, max(_FEWEST_BUCKETS, 2 << len(members).bit_length()))
    counts = np.zeros(buckets, dtype=np.int64)
    for start in range(0, len(members), _MEMBERS_AT_ONCE):
        some = members[start : start + _MEMBERS_AT_ONCE] % buckets
        counts += np.bincount(some, minlength=buckets)
    return counts


def _without_common(sets: Sets, buckets: Ints) -> Sets:
    """Take boilerplate out."""
    limit = len(sets) * COMMON
    suspects = sets.members[(buckets > limit)[sets.members % len(buckets)]]
    numbers, counts = np.unique(suspects, return_counts=True)
    common = numbers[counts > limit]
    if not len(common):
        return sets
    kept = ~np.isin(sets.members, common)
    sizes = np.add.reduceat(np.append(kept, False), sets.starts[:-1], dtype=np.int64)
    sizes[sets.sizes == 0] = 0
    return Sets(sets.members[kept], sizes)


def _rarest(sets: Sets, buckets: Ints, share: float) -> NDArray[np.uint64]:
    """List each set's rarest members, as many as similar sets cannot but share one of.

    Of two similar sets the smaller one has even fewer that the larger one cannot but share;
    these come first.

    Returns:
        Each member, whether it comes late (`_LATE`), and its set's number, in the bits of one
        number each, sorted; only members of several such lists.
    """
    smaller = 2 * share / (1 + share)
    found = []
    for first, last in sets.parts(_AT_ONCE):
        members = sets.members[sets.starts[first] : sets.starts[last]]
        sizes = sets.sizes[first:last]
        owners = np.repeat(np.arange(last - first, dtype=np.uint64), sizes)
        rarity = np.minimum(buckets[members % len(buckets)], 0xFFFF).astype(np.uint64)
        # By set, then the rarest first, and in the same order wherever rarity is equal.
        ordered = np.sort((owners << np.uint64(48)) | (rarity << _HALF) | members)
        starts = sets.starts[first:last] - sets.starts[first]
        places = np.arange(len(ordered)) - np.repeat(starts, sizes)
        looked_at, first_of_all = (
            np.repeat(sizes - np.ceil(least * sizes - 1e-9).astype(np.int64) + 1, sizes)
            for least in (share, smaller)
        )
        rare, is_late = (of[places < looked_at] for of in (ordered, places >= first_of_all))
        owner = (rare >> np.uint64(48)) + np.uint64(first)
        found.append((rare << _HALF) | np.where(is_late, _LATE, np.uint64(0)) | owner)
    every = np.sort(np.concatenate([np.empty(0, np.uint64), *found]))
    if not len(every):
        return every
    member = every >> _HALF
    again = member[1:] == member[:-1]
    shared: NDArray[np.uint64] = every[np.append(again, False) | np.append(False, again)]
    return shared


class _Grouping:
    """Compares pairs of sets, and joins the groups of those that are similar."""

    def __init__(self, sets: Sets, share: float, crowd: int) -> None:
        self.sets = sets
        self.share = share
        self.crowd = crowd
        self.groups: Ints = np.arange(len(sets), dtype=np.int64)
        self.parity = _parity(sets)

    def run(self, rare: NDArray[np.uint64]) -> Ints:
        """Compare all who share a rare member."""
        member, owner = rare >> _HALF, (rare & (_LATE - np.uint64(1))).astype(np.int64)
        is_late = (rare & _LATE) != 0
        if not len(rare):
            return self.groups
        begins = np.flatnonzero(np.append(True, member[1:] != member[:-1]))
        ends = np.append(begins[1:], len(rare)).astype(np.int64)
        sizes = ends - begins
        # Of the sets that share a member, each is compared with those after it.
        later = np.repeat(ends, sizes) - np.arange(len(rare)) - 1
        later[np.repeat(sizes > self.crowd, sizes) | is_late] = 0
        for first, last in _portions(later):
            counts = later[first:last]
            one = np.repeat(np.arange(first, last), counts)
            steps = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
            self.compare(owner[one], owner[one + steps + 1])
        for crowd in np.flatnonzero(sizes > self.crowd):
            early = int((~is_late[begins[crowd] : ends[crowd]]).sum())
            self.compare_crowd(owner[begins[crowd] : ends[crowd]], early)
        return self.groups

    def compare_crowd(self, crowd: Ints, early: int) -> None:
        """Compare many sets, one with all the others, until they are all of one group.

        Args:
            early: How many of them, the first ones, are to be compared with all others.
        """
        for place, one in enumerate(crowd[:early]):
            others = crowd[place + 1 :]
            others = others[self.groups[others] != self.groups[one]]
            if len(others):
                self.compare(np.full(len(others), one), others)
            elif (self.groups[crowd] == self.groups[one]).all():
                return

    def compare(self, one: Ints, other: Ints) -> None:
        """Join the groups of the pairs that are similar."""
        possible = (self.groups[one] != self.groups[other]) & self._may_be(one, other)
        if not possible.any():
            return
        pairs = np.unique(one[possible] * len(self.sets) + other[possible])
        one, other = pairs // len(self.sets), pairs % len(self.sets)
        sizes = self.sets.sizes[one] + self.sets.sizes[other]
        for first, last in _portions(sizes, _MEMBERS_AT_ONCE):
            some, their = one[first:last], other[first:last]
            shared = self._shared(some, their)
            alike = shared >= self.share * (sizes[first:last] - shared) - 1e-9
            self._join(some[alike], their[alike])

    def _may_be(self, one: Ints, other: Ints) -> NDArray[np.bool_]:
        """Whether sizes and parities allow two sets to be similar."""
        sizes, theirs = self.sets.sizes[one], self.sets.sizes[other]
        fits = np.minimum(sizes, theirs) >= self.share * np.maximum(sizes, theirs) - 1e-9
        # Every odd bit is a member that only one of the two has.
        odd = np.bitwise_count(self.parity[one] ^ self.parity[other]).sum(1, dtype=np.int64)
        most = (1 - self.share) / (1 + self.share) * (sizes + theirs)
        allowed: NDArray[np.bool_] = fits & (odd <= most + 1e-9)
        return allowed

    def _shared(self, one: Ints, other: Ints) -> Ints:
        """Count the members that the two sets of each pair share."""
        pairs = np.arange(len(one), dtype=np.uint64) << _HALF
        both = np.concatenate([self._members(one, pairs), self._members(other, pairs)])
        both.sort()
        twice = both[1:][both[1:] == both[:-1]]
        return np.bincount((twice >> _HALF).astype(np.int64), minlength=len(one))

    def _members(self, chosen: Ints, above: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """List the members of the chosen sets, each below the pair's number."""
        sizes = self.sets.sizes[chosen]
        steps = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.repeat(self.sets.starts[chosen], sizes) + steps
        members: NDArray[np.uint64] = np.repeat(above, sizes) | self.sets.members[places]
        return members

    def _join(self, one: Ints, other: Ints) -> None:
        if not len(one):
            return
        firsts, theirs = self.groups[one], self.groups[other]
        touched = np.unique(np.append(firsts, theirs))
        ends = np.searchsorted(touched, firsts), np.searchsorted(touched, theirs)
        renamed = np.arange(len(self.groups), dtype=np.int64)
        renamed[touched] = touched[components(len(touched), *ends)]
        self.groups = renamed[self.groups]


def _portions(counts: Ints, most: int = _PAIRS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Cut a list where its counts add up to about `most`; each part has one or more."""
    sums = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = sums[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(sums, before + most, side="right")))
        yield first, last
        first = last


def _parity(sets: Sets) -> NDArray[np.uint64]:
    """Give each set bits, of which each member turns one over."""
    bits = np.zeros((len(sets), _PARITY_WORDS), dtype=np.uint64)
    for first, last in sets.parts(_AT_ONCE):
        filled = np.flatnonzero(sets.sizes[first:last])
        if not len(filled):
            continue
        start = sets.starts[first]
        members = sets.members[start : sets.starts[last]].astype(np.uint64) * _SPREAD
        places = members >> np.uint64(56)
        ones = np.uint64(1) << (places & np.uint64(63))
        words = places >> np.uint64(6)
        starts = sets.starts[first + filled] - start
        for word in range(_PARITY_WORDS):
            some = np.where(words == word, ones, np.uint64(0))
            bits[first + filled, word] = np.bitwise_xor.reduceat(some, starts)
    return bits
