"""What came of a dataset's spec: how many rows of what, from whom, and what was left out?"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sidecar.core.datasets import InsufficientData, Spec, Split

MILLION = 1_000_000
ONE_CLASS = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What is counted of a row; equal for many.

    Args:
        model: What wrote the text, of a pair the rejected one; None for a person.
        origin: Of a pair; or `approve`, `edit` or None of an answer to imitate.
        redactions: What was taken out, and how often.
    """

    label: str | None
    is_good: bool | None
    model: str | None
    origin: str | None
    sources: tuple[str, ...]
    reviewers: int
    redactions: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Tally:
    """The facts and tokens of rows in their order, in little room."""

    kinds: dict[Facts, int] = field(default_factory=dict)
    of_rows: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, facts: Facts, tokens: int) -> None:
        """Take up the next row."""
        self.of_rows.append(self.kinds.setdefault(facts, len(self.kinds)))
        self.tokens.append(tokens)


def contents(tally: Tally, splits: Sequence[Split | None], spec: Spec) -> dict[str, Any]:
    """Tell what a dataset holds.

    Args:
        splits: Of each row; None for one that is left out.
    """
    counted = _counted(tally, splits)
    tokens = _tokens(tally, splits)
    train = tokens[Split.TRAIN]["total"]
    price = spec.usd_per_million_tokens
    return {
        "rows": {split: sum(counted[split].values()) for split in Split},
        "labels": {split: _classes(counted[split]) for split in Split},
        "balance": _balance(_classes(counted[Split.TRAIN])),
        "models": _of_all(counted, lambda facts: (facts.model or "person",)),
        "origins": _of_all(counted, lambda facts: (facts.origin,) if facts.origin else ()),
        "sources": _of_all(counted, lambda facts: facts.sources),
        "reviewers": _of_all(counted, lambda facts: (str(facts.reviewers),)),
        "redactions": _redactions(counted),
        "tokens": {
            "total": sum(each["total"] for each in tokens.values()),
            "max": max(each["max"] for each in tokens.values()),
            "by_split": tokens,
        },
        # For one epoch of the training rows.
        "cost_usd": None if price is None else round(train * price / MILLION, 6),
    }


def refuse_nothing(left_out: Mapping[str, int]) -> NoReturn:
    """Refuse a dataset without a row.

    Raises:
        InsufficientData: Always.
    """
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
    msg = (
        "there is no row: nobody said anything that this dataset could be made of "
        f"(left out: {reasons or 'none'})"
    )
    raise InsufficientData(msg)


def refuse_too_little(
    found: Mapping[str, Any], spec: Spec, left_out: Mapping[str, int]
) -> None:
    """Refuse a dataset that nothing can be learned from.

    Args:
        found: As `contents` tells it.

    Raises:
        InsufficientData: It has too few training rows, or one class.
    """
    train = found["rows"][Split.TRAIN]
    held = sum(found["rows"].values()) - train
    others = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
    outside = f"left out: {others or 'none'}; in validation and holdout: {held}"
    if train < spec.min_rows:
        msg = (
            f"the dataset would have {train} training rows; {spec.min_rows} are needed "
            f"({outside})"
        )
        raise InsufficientData(msg)
    classes = found["labels"][Split.TRAIN]
    # A draft has no class; a dataset that has drafts, too, is not of one.
    is_whole = sum(classes.values()) == train
    if is_whole and len(classes) == ONE_CLASS and not spec.allow_one_class:
        (only,) = classes
        msg = (
            f"all {train} training rows are of one class, {only[:80]!r}; two are needed, or "
            f"allow_one_class ({outside})"
        )
        raise InsufficientData(msg)


def _counted(tally: Tally, splits: Sequence[Split | None]) -> dict[Split, Counter[Facts]]:
    kinds = list(tally.kinds)
    pairs = Counter(zip(splits, tally.of_rows, strict=True))
    counted: dict[Split, Counter[Facts]] = {split: Counter() for split in Split}
    for (split, kind), count in pairs.items():
        if split is not None:
            counted[split][kinds[kind]] = count
    return counted


def _tokens(tally: Tally, splits: Sequence[Split | None]) -> dict[Split, dict[str, int]]:
    tokens: NDArray[np.int64] = np.array(tally.tokens, dtype=np.int64)
    found = {}
    for split in Split:
        some = tokens[np.array([each is split for each in splits], dtype=np.bool_)]
        found[split] = {"total": int(some.sum()), "max": int(some.max(initial=0))}
    return found


def _classes(counted: Counter[Facts]) -> dict[str, int]:
    classes: Counter[str] = Counter()
    for facts, count in counted.items():
        if facts.is_good is not None:
            classes["good" if facts.is_good else "bad"] += count
        elif facts.label is not None:
            classes[facts.label] += count
    return dict(sorted(classes.items()))


def _balance(classes: Mapping[str, int]) -> float | None:
    """Give the rarest class's count over the commonest one's; None without classes."""
    return round(min(classes.values()) / max(classes.values()), 6) if classes else None


def _of_all(
    counted: Mapping[Split, Counter[Facts]], names: Callable[[Facts], Sequence[str]]
) -> dict[str, int]:
    """Count the rows of all splits by what a row's facts name."""
    found: Counter[str] = Counter()
    for facts, count in _every(counted):
        for name in names(facts):
            found[name] += count
    return dict(sorted(found.items()))


def _redactions(counted: Mapping[Split, Counter[Facts]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for facts, count in _every(counted):
        for name, times in facts.redactions:
            found[name] += times * count
    return dict(sorted(found.items()))


def _every(counted: Mapping[Split, Counter[Facts]]) -> Iterable[tuple[Facts, int]]:
    return chain.from_iterable(each.items() for each in counted.values())
