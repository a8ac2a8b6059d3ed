"""Which of these pairs of sets are similar, and which sets does that put together?

A pair is looked at more closely step by step: whether its sets are in one group already, what
their sizes and parity bits allow, and at last how many members they share. No step refuses a
pair that is similar.
"""

import numpy as np
from numpy.typing import NDArray

from sidecar.core.likeness.sets import Flags, Ints, Sets, components, portions, runs

_PARITY_WORDS = 4  # of 64 bits, kept of each set
_MEMBERS_AT_ONCE = 1 << 20
_HALF = np.uint64(32)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio


class Joining:
    """Compares pairs of sets, and joins the groups of those that are similar.

    Args:
        share: Jaccard index, above 0, from which on two sets are similar.
    """

    def __init__(self, sets: Sets, share: float) -> None:
        self.sets = sets
        self.share = share
        self.groups: Ints = np.arange(len(sets), dtype=np.int64)
        self.parity = _parity(sets)

    def compare(self, one: Ints, other: Ints) -> None:
        """Join the groups of the pairs that are similar."""
        apart = np.flatnonzero(self.groups[one] != self.groups[other])
        one, other = one[apart], other[apart]
        possible = self._may_be(one, other)
        if not possible.any():
            return
        pairs = np.unique(one[possible] * len(self.sets) + other[possible])
        one, other = pairs // len(self.sets), pairs % len(self.sets)
        sizes = self.sets.sizes[one] + self.sets.sizes[other]
        for first, last in portions(sizes, _MEMBERS_AT_ONCE):
            some, their = one[first:last], other[first:last]
            shared = self._shared(some, their)
            alike = shared >= self.share * (sizes[first:last] - shared) - 1e-9
            self._join(some[alike], their[alike])

    def compare_crowd(self, crowd: Ints, early: Ints) -> None:
        """Compare some sets, one after the other, with many, until all are of one group."""
        for one in early:
            others = crowd[self.groups[crowd] != self.groups[one]]
            if len(others):
                self.compare(np.full(len(others), one), others)
            elif (self.groups[crowd] == self.groups[one]).all():
                return

    def _may_be(self, one: Ints, other: Ints) -> Flags:
        """Whether sizes and parities allow two sets to be similar."""
        sizes, theirs = self.sets.sizes[one], self.sets.sizes[other]
        fits = np.minimum(sizes, theirs) >= self.share * np.maximum(sizes, theirs) - 1e-9
        # Every odd bit is a member that only one of the two has.
        odd = np.bitwise_count(self.parity[one] ^ self.parity[other]).sum(1, dtype=np.int64)
        most = (1 - self.share) / (1 + self.share) * (sizes + theirs)
        allowed: Flags = fits & (odd <= most + 1e-9)
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
        places = np.repeat(self.sets.starts[chosen], sizes) + runs(sizes)
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


def _parity(sets: Sets) -> NDArray[np.uint64]:
    """Give each set bits, of which each member turns one over."""
    bits = np.zeros((len(sets), _PARITY_WORDS), dtype=np.uint64)
    for first, last in sets.parts():
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
