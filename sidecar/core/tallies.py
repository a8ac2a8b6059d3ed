"""By how much do some calls change the totals? Additions to cells and to units.

Made before anything is locked, from what the calls were and what they are now; new calls were
nothing. What a unit's moments change by depends on what the unit has already, so units are
added up first, and `moved` says what that does to their cell.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import add, sub

from sidecar.core.assignment import PRIMARY
from sidecar.core.facts import CellKey, Facts
from sidecar.core.routing import UnitSource
from sidecar.core.totals import (
    NOTHING,
    UnitVector,
    added,
    change,
    moments_gained,
    moments_of,
    sums_of,
    value_moments,
    vectors_of,
    weighted_values,
)

Epoch = tuple[str, int]
"""An experiment's id and its epoch."""

UnitKey = tuple[str, int, int, str, str]
"""A cell's key, and the unit within it."""

Weighted = tuple[int, int]
"""Of a unit's named value: weight, and weight times value."""

Changes = dict[CellKey, dict[str, int]]
"""What to add to the totals of cells."""

_NOTHING_WEIGHTED = (0, 0)
_CALL = UnitSource.CALL.value
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tally:
    """What some calls change.

    Args:
        changes: Of sums over calls, and of moments over units that are a single call.
        units: What to add to the other units.
        values: The same of named values, by unit and name.
    """

    changes: Changes
    units: Mapping[UnitKey, UnitVector]
    values: Mapping[tuple[UnitKey, str], Weighted]


@dataclass(frozen=True, slots=True)
class _Grown:
    """Units of a cell: those that are new, and those that were there, with what they gained."""

    new: list[UnitVector] = field(default_factory=list)
    now: list[UnitVector] = field(default_factory=list)
    more: list[UnitVector] = field(default_factory=list)


def tally(
    before: Sequence[Facts], after: Sequence[Facts], slow_ms: Mapping[Epoch, float | None]
) -> Tally:
    """Add up what some calls change.

    Calls without an experiment must have been left out.

    Args:
        before: What of the calls is counted already.
        after: What they are now; a call does not change its cell or its unit.
        slow_ms: By epoch; absent or None where its plan does not say it.
    """
    old, new = _by_cell(before), _by_cell(after)
    changes: Changes = {}
    units: dict[UnitKey, UnitVector] = {}
    values: dict[tuple[UnitKey, str], Weighted] = {}
    for key in old.keys() | new.keys():
        was, now = old.get(key, []), new.get(key, [])
        slow = slow_ms.get(key[:2])
        first, second = _cell_sums(was, slow), _cell_sums(now, slow)
        changes[key] = change(first, second)
        units |= _moved_units(was, now, slow)
        values |= _moved_values(was, now)
    return Tally(changes, units, values)


def moved(added_to: Mapping[UnitKey, UnitVector], was: Mapping[UnitKey, UnitVector]) -> Changes:
    """Say how the moments of cells change when units are added to.

    Args:
        added_to: What was added.
        was: What the units were before; one that is new to its arm is absent.
    """
    cells: dict[tuple[str, int, int, str], _Grown] = defaultdict(_Grown)
    for key, more in added_to.items():
        grown, old = cells[key[:4]], was.get(key)
        if old is None:
            grown.new.append(more)
        else:
            grown.now.append(UnitVector._make(map(add, old, more)))
            grown.more.append(more)
    return {
        CellKey(*cell): added(moments_of(grown.new), moments_gained(grown.now, grown.more))
        for cell, grown in cells.items()
    }


def moved_values(
    added_to: Mapping[tuple[UnitKey, str], Weighted],
    now: Mapping[tuple[UnitKey, str], Weighted],
) -> list[tuple[CellKey, dict[str, int]]]:
    """Say the same of named values."""
    changes = []
    for (unit, name), (w, wv) in now.items():
        more_w, more_wv = added_to[unit, name]
        was = value_moments(name, [(w - more_w, wv - more_wv)])
        changes.append((CellKey(*unit[:4]), change(was, value_moments(name, [(w, wv)]))))
    return changes


def shared(
    added_to: Iterable[UnitKey], was: Iterable[UnitKey]
) -> list[tuple[CellKey, dict[str, int]]]:
    """Count the units that come to be in more than one arm of their stage.

    Args:
        was: Where these units were before, in whichever arms.
    """
    before, gained = _units_by_cell(was), _units_by_cell(added_to)
    stages: dict[tuple[str, int, int], list[str]] = {}
    for experiment_id, epoch, stage, arm in sorted(before.keys() | gained.keys()):
        stages.setdefault((experiment_id, epoch, stage), []).append(arm)
    changes: list[tuple[CellKey, dict[str, int]]] = []
    for place, arms in stages.items():
        old = {arm: before.get((*place, arm), _NOBODY) for arm in arms}
        new = {arm: gained.get((*place, arm), _NOBODY) - old[arm] for arm in arms}
        counts: Counter[str] = Counter()
        for unit in _in_several(old[arm] | new[arm] for arm in arms):
            now = [arm for arm in arms if unit in old[arm] or unit in new[arm]]
            counts.update(newly_shared(now, [arm for arm in now if unit in new[arm]]))
        changes += [(CellKey(*place, arm), {"multi_arm_units": n}) for arm, n in counts.items()]
    return changes


def newly_shared(arms: Iterable[str], new: Iterable[str]) -> dict[str, int]:
    """Say for which arms a unit becomes one that is seen in several.

    It counts in every arm it is in but the first, `primary` before the others by name, so
    that the count does not depend on what was drained first.

    Args:
        arms: All that the unit is in now.
        new: Those of them that it was not in before.

    Example:
        >>> newly_shared(["canary", "primary"], ["primary"])
        {'canary': 1}
        >>> newly_shared(["a", "b", "primary"], ["primary"])
        {'a': 1}
    """
    now = set(arms)
    was = now - set(new)
    return change(dict.fromkeys(_later(was), 1), dict.fromkeys(_later(now), 1))


def joined(parts: Iterable[tuple[CellKey, Mapping[str, int]]]) -> Changes:
    """Add changes up, cell by cell."""
    changes: Changes = {}
    for cell, part in parts:
        changes[cell] = added(changes.get(cell, {}), part)
    return changes


def _units_by_cell(keys: Iterable[UnitKey]) -> Mapping[tuple[str, int, int, str], Set[str]]:
    cells: dict[tuple[str, int, int, str], set[str]] = defaultdict(set)
    for key in keys:
        cells[key[:4]].add(key[4])
    return cells


def _in_several(sets: Iterable[Set[str]]) -> set[str]:
    """Give what is in more than one of the sets."""
    seen: set[str] = set()
    several: set[str] = set()
    for each in sets:
        several |= seen & each
        seen |= each
    return several


def _later(arms: Iterable[str]) -> list[str]:
    return sorted(arms, key=lambda arm: (arm != PRIMARY, arm))[1:]


def _by_cell(calls: Iterable[Facts]) -> dict[CellKey, list[Facts]]:
    cells: dict[tuple[str, int, int, str], list[Facts]] = defaultdict(list)
    for call in calls:
        cells[call[:4]].append(call)
    return {CellKey(*key): found for key, found in cells.items()}


def _cell_sums(calls: Sequence[Facts], slow_ms: float | None) -> dict[str, int]:
    """Sum over calls, and over those units that are a single call."""
    if not calls:
        return {}
    alone = [call for call in calls if call.unit_source == _CALL]
    sums = sums_of(calls, slow_ms) | moments_of(vectors_of(alone, slow_ms))
    for call in alone:
        for name, weighted in weighted_values(call).items():
            sums = added(sums, value_moments(name, [weighted]))
    return sums


def _moved_units(
    was: Sequence[Facts], now: Sequence[Facts], slow_ms: float | None
) -> dict[UnitKey, UnitVector]:
    units: dict[UnitKey, UnitVector] = {}
    for calls, combine in ((now, add), (was, sub)):
        several = [call for call in calls if call.unit_source != _CALL]
        for call, more in zip(several, vectors_of(several, slow_ms), strict=True):
            key = call[:5]
            found = units.get(key)
            if found is None and combine is add:
                units[key] = more
            else:
                units[key] = UnitVector._make(map(combine, found or NOTHING, more))
    return {key: vector for key, vector in units.items() if any(vector)}


def _moved_values(
    was: Sequence[Facts], now: Sequence[Facts]
) -> dict[tuple[UnitKey, str], Weighted]:
    values: dict[tuple[UnitKey, str], Weighted] = {}
    for calls, sign in ((was, -1), (now, 1)):
        for call in calls:
            if call.values and not call.is_alone:
                for name, (w, wv) in weighted_values(call).items():
                    old_w, old_wv = values.get((call[:5], name), _NOTHING_WEIGHTED)
                    values[call[:5], name] = (old_w + sign * w, old_wv + sign * wv)
    return {key: weighted for key, weighted in values.items() if any(weighted)}
