"""Which cells are compared? A canary's and the primary's, stage by stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.cells import Cell
from sidecar.core.findings import Ends
from sidecar.core.results import StageDesign
from sidecar.core.stats.sequential import Interval

Cells = Mapping[tuple[int, str], Cell]  # by stage and assigned arm
EMPTY = Cell({})


@dataclass(frozen=True, slots=True)
class Pairing:
    """A canary and the primary in one stage in which both had a share.

    Args:
        share: Designed probability that a unit of these two arms is the canary's, in (0, 1).
    """

    stage: int
    share: float
    primary: Cell
    canary: Cell


def pairings(designs: Sequence[StageDesign], cells: Cells, canary: str) -> list[Pairing]:
    """Pair a canary with the primary, stage by stage.

    With further canaries the two arms' own shares count: given that a unit is in one of the
    two, which of them is a matter of their shares alone.

    Returns:
        Only stages in which both arms had a share; the others compare nothing.
    """
    found = []
    for design in designs:
        mine, other = design.share_bp.get(canary, 0), design.share_bp.get(PRIMARY, 0)
        if mine > 0 and other > 0:
            arms = (cells.get((design.stage, arm), EMPTY) for arm in (PRIMARY, canary))
            found.append(Pairing(design.stage, mine / (mine + other), *arms))
    return found


def designed_shares(design: StageDesign) -> dict[str, float]:
    """Return a stage's designed shares, `primary` first."""
    order = sorted(design.share_bp, key=lambda arm: (arm != PRIMARY, arm))
    return {arm: design.share_bp[arm] / BUCKETS for arm in order}


def is_clustered(cell: Cell) -> bool:
    """Tell whether some unit has several calls, so that calls are not independent."""
    return cell.count("nn") > cell.calls


def is_sticky(cell: Cell) -> bool:
    """Tell whether some unit can come back in a later call, and in a later stage."""
    return cell.count("sticky_calls") > 0


def ends(interval: Interval | None) -> Ends | None:
    """Write an interval for a document, which knows no infinity."""
    if interval is None:
        return None
    return finite(interval.low), finite(interval.high)


def finite(value: float) -> float | None:
    """Return a number that JSON can hold; None for an infinite one."""
    return value if math.isfinite(value) else None
