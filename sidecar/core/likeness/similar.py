"""Which of many sets share at least so much of their members? All that do, and quickly.

Two sets of a Jaccard index of `share` or more must share one of each one's rarest members, of
which so few need looking at (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006; Xiao
and others, WWW 2008). Where very many share one, more are asked for, and as many more looked
at (Wang, Li and Feng, SIGMOD 2012), so that the work does not grow with the square of the
number of sets. Nothing is missed by chance.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sidecar.core.likeness.joining import Joining
from sidecar.core.likeness.rarest import Counts, counted, rarest, without_common
from sidecar.core.likeness.sets import AT_ONCE, Flags, Ints, Sets, portions, runs

# More sets than this that share members are asked for more: to list what else they have takes
# about as long as to compare the sizes of so many pairs.
MANY = 1_000
CROWD = 2_000
# The next member asked for is the eighth after the first one that two sets share: those
# between are mostly of the same word, and who shares one of these shares them all. Sets of
# few members are asked for the very next one.
STEP, STEPS = 8, 2
LARGE = 32  # members

_PAIRS_AT_ONCE = 1 << 18  # few enough to stay near the processor
_RECORDS_AT_ONCE = 1 << 20

# A record says that a set has some members among its rarest. In the bits of one number: their
# hash, the set's rank by size, and the place of the last one. Hashes that meet cost only time.
_RANK_BITS, _PLACE_BITS = np.uint64(26), np.uint64(12)
_LOW_BITS = _RANK_BITS + _PLACE_BITS
_RANKS, _PLACES = np.uint64((1 << 26) - 1), np.uint64((1 << 12) - 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)

Records = NDArray[np.uint64]


def similar(sets: Sets, share: float, *, many: int = MANY, crowd: int = CROWD) -> Ints:
    """Group sets by their similarity, and what is linked through others.

    Args:
        sets: Fewer than 2^26, each of fewer than 4,000 / (1 - `share`) members.
        share: Jaccard index, above 0, from which on two sets are similar. Empty sets are
            similar to none.
        many: If more sets than this share members, they are asked for more.
        crowd: If more sets than this share all that is asked for, each is compared with those
            that are not of its group yet; fewer are compared by pairs, all at once.

    Returns:
        For each set the first one of its group.
    """
    counts = counted(sets)
    sets = without_common(sets, counts)
    search = _Search(sets, share, counts, (many, crowd))
    sizes = search.sizes
    # Of two similar sets both are large or neither is, but for those at the border.
    search.run(np.flatnonzero(sizes < LARGE / share), 1)
    search.run(np.flatnonzero(sizes >= LARGE), STEP)
    return search.joining.groups


class _Lists:
    """Records in lists of the same hash, of two or more each; by size within a list."""

    def __init__(self, records: Records) -> None:
        """Take sorted records; those that have no other one in their list are left out."""
        again = _hashes(records[1:]) == _hashes(records[:-1])
        is_shared = np.append(again, False) | np.append(False, again)
        self.records = records[is_shared[: len(records)]]
        hashes = _hashes(self.records)
        self.begins = _firsts(hashes)
        self.lengths = np.diff(np.append(self.begins, len(hashes)))
        self.ranks = ((self.records >> _PLACE_BITS) & _RANKS).astype(np.int64)
        self.places = (self.records & _PLACES).astype(np.int64)

    def whole(self, chosen: Flags) -> Flags:
        """Say of each record whether its list is chosen."""
        return np.repeat(chosen, self.lengths)


class _Search:
    """Finds the pairs of sets that may be similar, and has them compared."""

    def __init__(
        self, sets: Sets, share: float, counts: Counts, limits: tuple[int, int]
    ) -> None:
        self.share = share
        self.many, self.crowd = limits
        self.joining = Joining(sets, share)
        # By size, so that of two sets in a list the first one is the smaller one.
        self.order = np.argsort(sets.sizes, kind="stable").astype(np.int64)
        self.sizes = sets.sizes[self.order]
        largest = np.floor(self.sizes / share + 1e-9)
        self.too_large = np.searchsorted(self.sizes, largest, side="right")
        # At the most so many members has a set that a similar one, or a larger one, has not.
        self.differing = self.sizes - np.ceil(share * self.sizes - 1e-9).astype(np.int64)
        self.least_shared = self._shared(self.sizes, self.sizes)
        looked_at = np.empty_like(self.sizes)
        looked_at[self.order] = np.minimum(self.sizes, self.differing + 1 + STEP * STEPS)
        self.rarest = rarest(sets, counts, looked_at)

    def run(self, ranks: Ints, step: int) -> None:
        """Compare some sets with each other.

        Args:
            ranks: Theirs.
            step: How many members more are asked for where very many share one.
        """
        found = [np.empty(0, np.uint64)]
        for first in range(0, len(ranks), AT_ONCE):
            some = ranks[first : first + AT_ONCE]
            nothing = np.zeros(len(some), dtype=np.uint64), some, np.full(len(some), -1)
            found.append(self._longer(nothing, 1, 1))
        records = np.concatenate(found)
        del found
        records.sort()
        for first, last in _cut(records):
            self._go_on(records[first:last], 1, step)

    def _go_on(self, records: Records, asked: int, step: int) -> None:
        """Compare all who share the same `asked` members, or ask for more."""
        lists = _Lists(records)
        is_long = lists.lengths > self.many
        self._compare_pairs(lists, ~is_long, asked)
        if not is_long.any():
            return
        self._thin_out(lists, is_long)
        if asked == 1 + step * STEPS:
            self._compare_crowds(lists, is_long, asked)
        elif is_long.any():
            self._ask_for_more(lists, is_long, asked, step)

    def _compare_pairs(self, lists: _Lists, chosen: Flags, asked: int) -> None:
        """Compare each set with the larger ones of its list that are not too large."""
        records, ranks = lists.records, lists.ranks
        # Of two similar sets, the smaller one has these members at such places.
        early = lists.places - asked < self.sizes[ranks] - self.least_shared[ranks]
        ones = np.flatnonzero(lists.whole(chosen) & early)
        beyond = self.too_large[ranks[ones]].astype(np.uint64) << _PLACE_BITS
        ends = np.searchsorted(records, _hashes(records[ones]) << _LOW_BITS | beyond)
        counts = ends - ones - 1
        for first, last in portions(counts, _PAIRS_AT_ONCE):
            some = counts[first:last]
            one = np.repeat(ones[first:last], some)
            other = one + 1 + runs(some)
            fit = self._fit(lists, one, other, asked)
            self._compare(lists, one[fit], other[fit])

    def _fit(self, lists: _Lists, one: Ints, other: Ints, asked: int) -> Flags:
        """Whether two sets can be similar that share nothing rarer than what they share."""
        sizes, theirs = self.sizes[lists.ranks[one]], self.sizes[lists.ranks[other]]
        shared = self._shared(sizes, theirs) - asked
        fit: Flags = lists.places[one] < sizes - shared
        fit &= lists.places[other] < theirs - shared
        return fit

    def _compare(self, lists: _Lists, one: Ints, other: Ints) -> None:
        self.joining.compare(self.order[lists.ranks[one]], self.order[lists.ranks[other]])

    def _compare_with_all(self, lists: _Lists, ones: Ints) -> None:
        """Compare some with all others of their lists."""
        number = np.searchsorted(lists.begins, ones, side="right") - 1
        begins, counts = lists.begins[number], lists.lengths[number]
        for first, last in portions(counts, _PAIRS_AT_ONCE):
            some = counts[first:last]
            other = np.repeat(begins[first:last], some) + runs(some)
            self._compare(lists, np.repeat(ones[first:last], some), other)

    def _thin_out(self, lists: _Lists, is_long: Flags) -> None:
        """Compare the first of each long list with all; and the rest, if it is but a few.

        What is left of a crowd of near-duplicates is then done with.

        Args:
            is_long: Of each list; afterwards, whether there still is something to do.
        """
        self._compare_with_all(lists, lists.begins[is_long])
        groups = self.joining.groups[self.order[lists.ranks]]
        is_other = groups != np.repeat(groups[lists.begins], lists.lengths)
        others = np.add.reduceat(is_other, lists.begins, dtype=np.int64)
        few = is_long & (others <= self.many)
        self._compare_with_all(lists, np.flatnonzero(lists.whole(few) & is_other))
        is_long &= ~few

    def _ask_for_more(self, lists: _Lists, chosen: Flags, asked: int, step: int) -> None:
        """Make longer records, and compare those who share as many."""
        within = lists.whole(chosen)
        more = asked + step
        # Who is so small that similar sets need not share so many has to be compared now.
        small = self.least_shared[lists.ranks] < more
        self._compare_with_all(lists, np.flatnonzero(within & small))
        on = np.flatnonzero(within & ~small)
        hashes, ranks, places = _hashes(lists.records[on]), lists.ranks[on], lists.places[on]
        counts = self._left(ranks, places, more, step)
        # A list stays together, however long.
        begins = _firsts(hashes)
        ends = np.append(begins, len(on))
        of_lists = np.add.reduceat(counts, begins) if len(on) else counts
        for first, last in portions(of_lists, _RECORDS_AT_ONCE):
            some = slice(ends[first], ends[last])
            longer = self._longer((hashes[some], ranks[some], places[some]), more, step)
            longer.sort()
            self._go_on(longer, more, step)

    def _compare_crowds(self, lists: _Lists, chosen: Flags, asked: int) -> None:
        crowds = chosen & (lists.lengths > self.crowd)
        self._compare_pairs(lists, chosen & ~crowds, asked)
        for number in np.flatnonzero(crowds):
            begin = lists.begins[number]
            crowd = self.order[lists.ranks[begin : begin + lists.lengths[number]]]
            self.joining.compare_crowd(crowd, crowd)

    def _shared(self, sizes: Ints, theirs: Ints) -> Ints:
        """Count what two sets of such sizes share at the least if they are similar."""
        share = self.share / (1 + self.share)
        least: Ints = np.ceil(share * (sizes + theirs) - 1e-9).astype(np.int64)
        return least

    def _left(self, ranks: Ints, places: Ints, asked: int, step: int) -> Ints:
        """Count the places after these where the next shared member asked for can be."""
        last = np.minimum(self.sizes[ranks], self.differing[ranks] + asked)
        left: Ints = np.maximum(last - places - step, 0)
        return left

    def _longer(self, known: tuple[Records, Ints, Ints], asked: int, step: int) -> Records:
        """Make records one member longer, in every way that there is.

        Args:
            known: Their hashes, ranks and places.
        """
        hashes, ranks, places = known
        left = self._left(ranks, places, asked, step)
        place = np.repeat(places + step, left) + runs(left)
        starts = self.rarest.starts[self.order[ranks]]
        member = self.rarest.members[np.repeat(starts, left) + place].astype(np.uint64)
        mixed = (np.repeat(hashes * _SPREAD, left) ^ member) * _MIX
        mixed ^= mixed >> _HALF
        mixed *= _SPREAD
        owner = np.repeat(ranks.astype(np.uint64) << _PLACE_BITS, left)
        return (mixed >> _LOW_BITS << _LOW_BITS) | owner | place.astype(np.uint64)


def _cut(records: Records) -> Iterator[tuple[int, int]]:
    """Cut sorted records into parts, but no list into two."""
    first = 0
    while first < len(records):
        last = min(first + _RECORDS_AT_ONCE, len(records))
        highest = records[last - 1] | (_RANKS << _PLACE_BITS) | _PLACES
        last = int(np.searchsorted(records, highest, side="right"))
        yield first, last
        first = last


def _hashes(records: Records) -> Records:
    hashes: Records = records >> _LOW_BITS
    return hashes


def _firsts(hashes: Records) -> Ints:
    """Find where each hash of a sorted list comes first."""
    return np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
