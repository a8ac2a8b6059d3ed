"""How far do people agree who judged the same calls and did not know of each other?"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.core.stats.agreement import accuracy, cohen_kappa, fleiss_kappa, pairwise
from sidecar.core.stats.means import Estimate
from sidecar.core.stats.proportions import wilson_interval
from sidecar.core.stats.sequential import Interval

ALPHA = 0.05
_Z = 1.96  # the normal distribution's, for ALPHA on both sides
_NO_LABEL = ""  # stands for the label that nobody gave; no label is empty


class Judged(StrEnum):
    """What people may agree on."""

    LABELS = "labels"  # of drawn calls
    CHOICES = "choices"  # between two calls' answers to one prompt


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance: 1 is perfect, 0 is chance, below is worse.

    Args:
        low, high: 95 % interval, for independent calls; None where nothing varied, from
            which its width cannot be told.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How far two people agree.

    Args:
        n: Calls, or pairs of calls, that both judged.
        observed: The share with the same label, with its 95 % (Wilson) interval.
        kappa: Cohen's; None when both used one and the same label only.
    """

    reviewers: tuple[str, str]
    n: int
    observed: float
    observed_low: float
    observed_high: float
    kappa: Kappa | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree on the calls, or pairs of calls, that two or more of them judged.

    Args:
        n: How many of these there are.
        fleiss: Over all of them; None without any, or with one label only.
        is_cut: There are more; these are the newest.
    """

    n: int
    pairs: Sequence[PairAgreement]
    fleiss: Kappa | None
    is_cut: bool = False


def agreement_of(items: Sequence[Mapping[str, str]]) -> Agreement:
    """Say how far people agree.

    Args:
        items: For each call the label by reviewer; one with a single reviewer tells nothing.
            A choice between two calls' answers is a label, too.
    """
    shared = [item for item in items if len(item) > 1]
    used = sorted({label for item in shared for label in item.values()})
    labels = used if len(used) > 1 else [*used, _NO_LABEL]
    found = pairwise(labels, shared) if used else {}
    pairs = []
    for reviewers, confusion in found.items():
        observed, n = accuracy(confusion), confusion.total
        if observed is None:
            continue
        interval = wilson_interval(round(observed.value * n), n, ALPHA) or Interval(0, 1)
        kappa = _kappa(cohen_kappa(confusion))
        pairs.append(
            PairAgreement(reviewers, int(n), observed.value, interval.low, interval.high, kappa)
        )
    counts = [_counts(item.values()) for item in shared]
    pairs.sort(key=lambda pair: (-pair.n, pair.reviewers))
    return Agreement(len(shared), pairs, _kappa(fleiss_kappa(counts)))


def _counts(labels: Iterable[str]) -> dict[str, int]:
    return {label: len(list(same)) for label, same in itertools.groupby(sorted(labels))}


def _kappa(found: Estimate | None) -> Kappa | None:
    if found is None:
        return None
    if found.variance <= 0:
        return Kappa(found.value, None, None)
    low, high = found.value - _Z * found.se, found.value + _Z * found.se
    return Kappa(found.value, max(-1.0, low), min(1.0, high))
