"""How are many sets of numbers held, and what is linked through what?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AT_ONCE = 1 << 14  # sets; at most 1 << 16, for their number has 16 bits in `likeness.similar`

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
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

    def parts(self, most: int = AT_ONCE) -> Iterator[tuple[int, int]]:
        """Give ranges of so many sets at most that follow each other."""
        for first in range(0, len(self), most):
            yield first, min(first + most, len(self))


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


def portions(counts: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Cut a list where its counts add up to about `most`; each part has one or more."""
    sums = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = sums[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(sums, before + most, side="right")))
        yield first, last
        first = last


def runs(counts: Ints) -> Ints:
    """Number the items of runs of such lengths, from 0 in each.

    Example:
        >>> runs(np.array([2, 0, 3])).tolist()
        [0, 1, 0, 1, 2]
    """
    numbers: Ints = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers
