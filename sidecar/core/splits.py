"""Which rows are for training, which for validation, and which for nothing but evaluation?

No unit, no prompt and no near-duplicate is on two sides. What is held out depends on the
project and the unit alone, so that it stays held out whatever is asked for later.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.core.datasets import Split
from sidecar.core.likeness.sets import components

LEFT_OUT = -1
# A number for each, as the array of a split has it.
PLACES = (Split.TRAIN, Split.VALIDATION, Split.HOLDOUT)
NEAR_HOLDOUT = "near_holdout"  # why a row that is like a held-out one is left out

_TRAIN, _VALIDATION, _HOLDOUT = range(len(PLACES))


@dataclass(frozen=True, slots=True)
class Shares:
    """How much goes where: shares of the units, in [0, 1).

    Args:
        project_id: Whose permanent holdout it is.
        seed: Another one draws other units for validation, and the same for the holdout.
    """

    project_id: str
    seed: str
    validation: float
    holdout: float


@dataclass(frozen=True, slots=True)
class Divided:
    """What became of the rows.

    Args:
        places: Of each row, an index of `PLACES`, or `LEFT_OUT`.
        units: How many there are.
        parts: How many parts the rows fell into that could only be placed as a whole.
        largest_part: How many rows the largest of them has.
    """

    places: NDArray[np.int8]
    units: int
    parts: int
    largest_part: int


def divide(
    units: Sequence[str],
    prompts: NDArray[np.int64],
    near: NDArray[np.int64],
    shares: Shares,
) -> Divided:
    """Place every row.

    Args:
        units: Of each row. `prompts`: a number that rows of one prompt share. `near`: one
            that near-duplicates share.
    """
    names, unit = _numbered(units)
    is_held = np.array([is_held_out(name, shares) for name in names], dtype=np.bool_)[unit]
    alike = _joined(prompts, near)
    near_held = np.zeros(len(unit), dtype=np.bool_)
    near_held[alike[is_held]] = True
    placed = np.full(len(unit), LEFT_OUT, dtype=np.int8)
    placed[is_held] = _HOLDOUT
    rest = np.flatnonzero(~near_held[alike])
    parts = _joined(unit[rest], alike[rest])
    # Names are sorted, so that the smallest number is the smallest unit's.
    smallest = np.full(len(unit), len(names), dtype=np.int64)
    np.minimum.at(smallest, parts, unit[rest])
    chosen = np.unique(parts)
    sides = np.full(len(unit), _TRAIN, dtype=np.int8)
    for part in chosen:
        if _draw(shares.seed, "validation", names[smallest[part]]) < shares.validation:
            sides[part] = _VALIDATION
    placed[rest] = sides[parts]
    sizes = np.bincount(parts, minlength=1)
    return Divided(placed, len(names), len(chosen), int(sizes.max()))


def is_held_out(unit: str, shares: Shares) -> bool:
    """Whether a unit is of the project's permanent holdout.

    Example:
        >>> is_held_out("u-1", Shares("default", "any", 0.1, 0.0))
        False
    """
    return _draw(shares.project_id, "holdout", unit) < shares.holdout


def _draw(salt: str, purpose: str, unit: str) -> float:
    """Draw a number in [0, 1) that is the unit's, for a purpose, for ever."""
    # Hashed first, for then the salt's end cannot be taken for the unit's beginning.
    first = hashlib.sha256(f"{salt}{purpose}".encode()).digest()
    digest = hashlib.sha256(first + unit.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2.0**53


def _joined(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join the rows that share a value of either kind; each gets its group's first row."""
    every = np.arange(len(one), dtype=np.int64)
    ends = np.append(every, every), np.append(_first_of(one), _first_of(other))
    return components(len(one), *ends)


def _numbered(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Number names in their order."""
    ordered = sorted(set(names))
    numbers = {name: number for number, name in enumerate(ordered)}
    return ordered, np.array([numbers[name] for name in names], dtype=np.int64)


def _first_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each place the first one that has its value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    places: NDArray[np.int64] = first[inverse].astype(np.int64)
    return places
