"""How often do a model and a person, or two people, say the same, and is it more than luck?

A confusion counts pairs of labels: what the model said and what the person said. Every
number below is a smooth function of the pairs' shares, so one formula gives every variance
(the delta method): with z the function's derivative in a pair's share, centred, variance =
sum over pairs of (sum of squared weights) z^2 / (sum of weights)^2. Asymptotic, for
independent calls; descriptive, never used for decisions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Self

from sidecar.core.errors import Invalid
from sidecar.core.stats.means import Estimate

Pair = tuple[str, str]

FEWEST_LABELS = 2  # with one, there is nothing to choose
FEWEST_PEOPLE = 2  # one cannot agree
NO_ROOM = 1e-12  # less than this beyond chance is rounding: there is nothing to agree beyond


class Distance(StrEnum):
    """How wrong a wrong label is, for labels in order."""

    NOMINAL = "nominal"
    LINEAR = "linear"
    QUADRATIC = "quadratic"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pairs (model's label, person's label) with their weights.

    Args:
        labels: The label set, at least two; in order from one end to the other if the
            weighted kappa is asked for (irrelevant, maybe, relevant).
        weights: Sum of the audit weights by pair; counts, when nothing was weighted. A
            missing pair never occurred.
        squares: Sum of the squared weights by pair.

    Raises:
        Invalid: A pair outside the label set, or a weight below 0 or not finite.
    """

    labels: Sequence[str]
    weights: Mapping[Pair, float]
    squares: Mapping[Pair, float]

    def __post_init__(self) -> None:
        known = set(self.labels)
        if len(known) != len(self.labels) or len(known) < FEWEST_LABELS:
            message = f"labels {list(self.labels)}; two or more different ones were expected"
            raise Invalid(message)
        for pair, weight in [*self.weights.items(), *self.squares.items()]:
            if not known.issuperset(pair):
                message = f"the pair {pair} is not of the labels {list(self.labels)}"
                raise Invalid(message)
            if not (weight >= 0 and math.isfinite(weight)):
                message = f"the pair {pair} has weight {weight}; 0 or more was expected"
                raise Invalid(message)

    def __add__(self, other: Self) -> Self:
        if list(self.labels) != list(other.labels):
            message = f"labels {list(self.labels)} and {list(other.labels)} do not add"
            raise Invalid(message)
        return type(self)(
            self.labels,
            _added(self.weights, other.weights),
            _added(self.squares, other.squares),
        )

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return sum(self.weights.values())


def confusion_of(
    labels: Sequence[str],
    counts: Mapping[Pair, float],
    weights: Mapping[Pair, float] | None = None,
) -> Confusion:
    """A confusion from counts by pair, or from counts and sums of weights.

    Without the squared weights themselves, a pair's calls are taken as equally weighted:
    exact for a uniform audit, and a little too sure where weights differ within a pair.

    Raises:
        Invalid: As `Confusion`, or a pair has weight without a count.
    """
    if weights is None:
        return Confusion(labels, counts, counts)
    weighted = {pair: weight for pair, weight in weights.items() if weight != 0}
    for pair, weight in weighted.items():
        if not counts.get(pair, 0) > 0:
            message = f"the pair {pair} has weight {weight}, but no count above 0"
            raise Invalid(message)
    squares = {pair: weight**2 / counts[pair] for pair, weight in weighted.items()}
    return Confusion(labels, weights, squares)


def accuracy(confusion: Confusion) -> Estimate | None:
    """Share of pairs that agree, in [0, 1]; None without pairs."""
    return _ratio(confusion, lambda pair: (float(pair[0] == pair[1]), 1.0))


def precision(confusion: Confusion, label: str) -> Estimate | None:
    """Of what the model gave a label, the share the person gave it too.

    Returns:
        In [0, 1]; None when the model never gave it.
    """
    return _ratio(confusion, lambda p: (float(p == (label, label)), float(p[0] == label)))


def recall(confusion: Confusion, label: str) -> Estimate | None:
    """Of what the person gave a label, the share the model gave it too.

    Returns:
        In [0, 1]; None when the person never gave it.
    """
    return _ratio(confusion, lambda p: (float(p == (label, label)), float(p[1] == label)))


def f1(confusion: Confusion, label: str) -> Estimate | None:
    """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN).

    Returns:
        In [0, 1]; None when neither gave the label.
    """

    def parts(pair: Pair) -> tuple[float, float]:
        hit = float(pair == (label, label))
        return 2 * hit, float(pair[0] == label) + float(pair[1] == label)

    return _ratio(confusion, parts)


def cohen_kappa(confusion: Confusion, distance: Distance = Distance.NOMINAL) -> Estimate | None:
    """Agreement beyond what the two would reach by chance with the labels they use.

    kappa = (o - e) / (1 - e); o = sum v p, e = sum v p_model p_person, v = 1 for the same
    label and else 0 (nominal), 1 - d (linear) or 1 - d^2 (quadratic), with d the distance in
    the labels' order over the longest one. 1 is perfect, 0 is chance, below 0 is worse.

    Returns:
        None without pairs, or when chance alone agrees always (one label only).

    Source:
        Cohen (1960, 1968); Fleiss, Cohen & Everitt, "Large sample standard errors of kappa
        and weighted kappa", Psychological Bulletin 72 (1969).
    """
    if (total := confusion.total) <= 0:
        return None
    share = {pair: weight / total for pair, weight in confusion.weights.items()}
    model = {a: sum(w for (m, _), w in share.items() if m == a) for a in confusion.labels}
    person = {b: sum(w for (_, h), w in share.items() if h == b) for b in confusion.labels}
    credit = _credits(confusion.labels, distance)
    observed = sum(credit[pair] * share[pair] for pair in share)
    expected = sum(credit[a, b] * model[a] * person[b] for a, b in credit)
    if 1 - expected <= NO_ROOM:
        return None
    by_model = {
        a: sum(credit[a, b] * person[b] for b in confusion.labels) for a in confusion.labels
    }
    by_person = {
        b: sum(credit[a, b] * model[a] for a in confusion.labels) for b in confusion.labels
    }
    centre = (observed * expected - 2 * expected + observed) / (1 - expected) ** 2

    def influence(pair: Pair) -> float:
        chance = (by_model[pair[0]] + by_person[pair[1]]) * (1 - observed)
        return (credit[pair] * (1 - expected) - chance) / (1 - expected) ** 2 - centre

    kappa = (observed - expected) / (1 - expected)
    return Estimate(kappa, _variance(confusion, influence))


def fleiss_kappa(items: Sequence[Mapping[str, int]]) -> Estimate | None:
    """Agreement of several people beyond chance, over items each labelled by two or more.

    kappa = (P - E) / (1 - E): P the mean over items of the share of agreeing pairs of
    people, E the sum of the squared overall shares of the labels. Items labelled by fewer
    than two people tell nothing and are left out. The error is the delta method's over
    items, which takes items, not people, as drawn at random.

    Args:
        items: For each item, how many people gave each label.

    Returns:
        None without an item that two people labelled, or when only one label occurs.

    Source:
        Fleiss, "Measuring nominal scale agreement among many raters", Psychological
        Bulletin 76 (1971); for unequal numbers of people, labels' shares are of all labels.
    """
    rated = [item for item in items if sum(item.values()) >= FEWEST_PEOPLE]
    if not rated:
        return None
    people = [sum(item.values()) for item in rated]
    everyone = sum(people)
    names = sorted({label for item in rated for label in item})
    share = {k: sum(item.get(k, 0) for item in rated) / everyone for k in names}
    agreeing = [
        sum(k * (k - 1) for k in item.values()) / (n * (n - 1))
        for item, n in zip(rated, people, strict=True)
    ]
    observed, expected = sum(agreeing) / len(rated), sum(p * p for p in share.values())
    if 1 - expected <= NO_ROOM:
        return None
    variance = 0.0
    for item, n, agreed in zip(rated, people, agreeing, strict=True):
        moved = sum(share[k] * (item.get(k, 0) - n * share[k]) for k in names)
        shift = 2 * moved * len(rated) / everyone
        rest = (1 - observed) / (1 - expected) * shift
        variance += ((agreed - observed - rest) / (1 - expected)) ** 2
    kappa = (observed - expected) / (1 - expected)
    return Estimate(kappa, variance / len(rated) ** 2)


def pairwise(
    labels: Sequence[str], items: Sequence[Mapping[str, str]]
) -> dict[Pair, Confusion]:
    """The confusion of every two people over the items both labelled.

    Args:
        labels: As in `Confusion`.
        items: For each item, the label by person.

    Returns:
        By (person, person) in alphabetical order; two who share no item have none.
    """
    counts: dict[Pair, dict[Pair, float]] = {}
    for item in items:
        people = sorted(item)
        for i, one in enumerate(people):
            for other in people[i + 1 :]:
                pairs = counts.setdefault((one, other), {})
                pair = (item[one], item[other])
                pairs[pair] = pairs.get(pair, 0) + 1
    return {who: confusion_of(labels, pairs) for who, pairs in counts.items()}


def _ratio(
    confusion: Confusion, parts: Callable[[Pair], tuple[float, float]]
) -> Estimate | None:
    """A ratio of two weighted sums over pairs, with its linearised error."""
    above = sum(w * parts(pair)[0] for pair, w in confusion.weights.items())
    below = sum(w * parts(pair)[1] for pair, w in confusion.weights.items())
    if below <= 0:
        return None
    value, mean_below = above / below, below / confusion.total

    def influence(pair: Pair) -> float:
        over, under = parts(pair)
        return (over - value * under) / mean_below

    return Estimate(value, _variance(confusion, influence))


def _variance(confusion: Confusion, influence: Callable[[Pair], float]) -> float:
    squares = sum(w2 * influence(pair) ** 2 for pair, w2 in confusion.squares.items())
    return squares / confusion.total**2


def _credits(labels: Sequence[str], distance: Distance) -> dict[Pair, float]:
    longest = len(labels) - 1
    credit = {}
    for (i, a), (j, b) in product(enumerate(labels), repeat=2):
        off = {
            Distance.NOMINAL: float(i != j),
            Distance.LINEAR: abs(i - j) / longest,
            Distance.QUADRATIC: (abs(i - j) / longest) ** 2,
        }
        credit[a, b] = 1 - off[distance]
    return credit


def _added(one: Mapping[Pair, float], other: Mapping[Pair, float]) -> dict[Pair, float]:
    return {pair: one.get(pair, 0) + other.get(pair, 0) for pair in {**one, **other}}
