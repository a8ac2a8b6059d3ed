"""Agreement against scikit-learn, statsmodels and the published examples."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_reference

from sidecar.core.errors import Invalid
from sidecar.core.stats.agreement import (
    Confusion,
    Distance,
    accuracy,
    cohen_kappa,
    confusion_of,
    f1,
    fleiss_kappa,
    pairwise,
    precision,
    recall,
)
from sidecar.core.stats.means import Estimate

few = settings(max_examples=30)  # an example costs milliseconds
LABELS = ["irrelevant", "maybe", "relevant"]
PAIRS = [(a, b) for a in LABELS for b in LABELS]
Counts = dict[tuple[str, str], int]
counts = st.lists(st.integers(0, 40), min_size=9, max_size=9).map(
    lambda ns: dict(zip(PAIRS, ns, strict=True))
)
full_counts = st.lists(st.integers(1, 40), min_size=9, max_size=9).map(
    lambda ns: dict(zip(PAIRS, ns, strict=True))
)
Measure = Callable[[Confusion], Estimate | None]
MEASURES = {
    "accuracy": accuracy,
    "precision": lambda c: precision(c, "relevant"),
    "recall": lambda c: recall(c, "relevant"),
    "f1": lambda c: f1(c, "relevant"),
    "kappa": cohen_kappa,
    "linear kappa": lambda c: cohen_kappa(c, Distance.LINEAR),
    "quadratic kappa": lambda c: cohen_kappa(c, Distance.QUADRATIC),
}


def table(by_pair: Counts) -> np.ndarray:
    return np.array([by_pair[pair] for pair in PAIRS], float).reshape(3, 3)


def answers(by_pair: Counts) -> tuple[list[str], list[str]]:
    rows = [pair for pair, n in by_pair.items() for _ in range(n)]
    return [model for model, _ in rows], [person for _, person in rows]


@pytest.mark.parametrize(
    ("distance", "kind"),
    [(Distance.NOMINAL, None), (Distance.LINEAR, "linear"), (Distance.QUADRATIC, "quadratic")],
)
@few
@given(full_counts)
def test_kappa_and_its_error_are_those_of_statsmodels_and_scikit_learn(
    distance: Distance, kind: str | None, found: Counts
) -> None:
    ours = cohen_kappa(confusion_of(LABELS, found), distance)
    theirs = cohens_kappa(table(found), wt=kind)
    assert ours is not None
    assert ours.value == pytest.approx(theirs.kappa, abs=1e-12)
    assert ours.se == pytest.approx(theirs.std_kappa, abs=1e-10)
    model, person = answers(found)
    learnt = cohen_kappa_score(model, person, labels=LABELS, weights=kind)
    assert ours.value == pytest.approx(learnt, abs=1e-12)


def test_kappa_of_the_textbook_example() -> None:
    # Fleiss, Levin & Paik (2003), table 18.1: 100 patients, two psychiatrists.
    labels = ["psychotic", "neurotic", "organic"]
    cells = dict(
        zip(
            [(a, b) for a in labels for b in labels],
            [75, 1, 4, 5, 4, 1, 0, 0, 10],
            strict=True,
        )
    )
    kappa = cohen_kappa(confusion_of(labels, cells))
    assert kappa is not None
    assert round(kappa.value, 2) == 0.68


@few
@given(full_counts)
def test_precision_recall_and_f1_are_those_of_scikit_learn(found: Counts) -> None:
    confusion = confusion_of(LABELS, found)
    model, person = answers(found)
    theirs = precision_recall_fscore_support(person, model, labels=LABELS)
    for index, label in enumerate(LABELS):
        for measure, values in zip((precision, recall, f1), theirs[:3], strict=True):
            ours = measure(confusion, label)
            assert ours is not None
            assert ours.value == pytest.approx(values[index], abs=1e-12)


def test_the_error_of_accuracy_and_precision_is_the_binomial_one() -> None:
    confusion = confusion_of(
        LABELS, dict(zip(PAIRS, [50, 3, 2, 4, 9, 7, 1, 4, 20], strict=True))
    )
    right, hit = accuracy(confusion), precision(confusion, "relevant")
    assert right is not None
    assert right.se == pytest.approx(math.sqrt(0.79 * 0.21 / 100))
    assert hit is not None
    assert hit.se == pytest.approx(math.sqrt(0.8 * 0.2 / 25))


@pytest.mark.parametrize("name", MEASURES)
@few
@given(full_counts)
def test_every_error_is_the_infinitesimal_jackknifes(name: str, found: Counts) -> None:
    # Efron (1982): se^2 = sum over observations of (change of the value with that
    # observation's weight)^2; here by a central difference in each pair's weight.
    measure, step, squares = MEASURES[name], 1e-4, 0.0
    for pair, n in found.items():
        up = measure(confusion_of(LABELS, {**found, pair: n + step}))
        down = measure(confusion_of(LABELS, {**found, pair: n - step}))
        assert up is not None
        assert down is not None
        squares += n * ((up.value - down.value) / (2 * step)) ** 2
    ours = measure(confusion_of(LABELS, found))
    assert ours is not None
    assert ours.se == pytest.approx(math.sqrt(squares), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", MEASURES)
@few
@given(full_counts, st.floats(0.1, 50))
def test_a_common_weight_changes_neither_value_nor_error(
    name: str, found: Counts, weight: float
) -> None:
    plain = MEASURES[name](confusion_of(LABELS, found))
    weights = {pair: n * weight for pair, n in found.items()}
    weighted = MEASURES[name](confusion_of(LABELS, found, weights))
    assert plain is not None
    assert weighted is not None
    assert weighted.value == pytest.approx(plain.value)
    assert weighted.se == pytest.approx(plain.se)


@few
@given(counts, counts)
def test_adding_confusions_is_merging_samples(one: Counts, other: Counts) -> None:
    both = {pair: one[pair] + other[pair] for pair in PAIRS}
    assert accuracy(confusion_of(LABELS, one) + confusion_of(LABELS, other)) == accuracy(
        confusion_of(LABELS, both)
    )


def test_nothing_labelled_is_none_and_never_zero() -> None:
    empty = confusion_of(LABELS, {})
    assert {name: measure(empty) for name, measure in MEASURES.items()} == dict.fromkeys(
        MEASURES
    )
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([{"relevant": 1}]) is None


def test_one_label_only_leaves_no_room_beyond_chance() -> None:
    only = confusion_of(LABELS, {("maybe", "maybe"): 30})
    assert cohen_kappa(only) is None
    assert precision(only, "relevant") is None
    assert accuracy(only) == Estimate(1.0, 0.0)
    assert fleiss_kappa([{"maybe": 3}, {"maybe": 2}]) is None


@pytest.mark.parametrize(
    ("labels", "cells"),
    [
        pytest.param(LABELS, {("relevant", "perhaps"): 1}, id="a label outside the set"),
        pytest.param(["relevant"], {}, id="one label"),
        pytest.param(["a", "a"], {}, id="a label twice"),
        pytest.param(LABELS, {("maybe", "maybe"): -1}, id="a negative count"),
        pytest.param(LABELS, {("maybe", "maybe"): math.nan}, id="not a number"),
    ],
)
def test_a_confusion_that_cannot_be_is_refused(labels: list[str], cells: Counts) -> None:
    with pytest.raises(Invalid):
        confusion_of(labels, cells)


def test_a_weight_without_a_count_is_refused() -> None:
    with pytest.raises(Invalid, match="no count"):
        confusion_of(LABELS, {}, {("maybe", "maybe"): 10.0})
    assert confusion_of(LABELS, {}, {("maybe", "maybe"): 0.0}).total == 0


def test_confusions_of_different_label_sets_do_not_add() -> None:
    with pytest.raises(Invalid, match="do not add"):
        confusion_of(LABELS, {}) + confusion_of(["yes", "no"], {})


# Fleiss (1971), the example of 14 people and 10 items with 5 labels: kappa = 0.210.
FLEISS_1971 = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_fleiss_kappa_is_the_published_one_and_statsmodels() -> None:
    items = [{str(k): n for k, n in enumerate(row)} for row in FLEISS_1971]
    ours = fleiss_kappa(items)
    assert ours is not None
    assert round(ours.value, 3) == 0.210
    assert ours.value == pytest.approx(fleiss_reference(np.array(FLEISS_1971)), abs=1e-12)


def test_the_error_of_fleiss_kappa_is_the_infinitesimal_jackknifes_over_items() -> None:
    items = [{str(k): n for k, n in enumerate(row)} for row in FLEISS_1971]
    ours = fleiss_kappa(items)
    assert ours is not None
    copies, squares = 500, 0.0
    for item in items:
        more = fleiss_kappa([*(items * copies), item])
        assert more is not None
        # One more copy of an item among 500 of each: a step of 1/500 in its weight.
        squares += ((more.value - ours.value) * copies) ** 2
    assert ours.se == pytest.approx(math.sqrt(squares), rel=5e-3)


def test_two_people_who_use_the_labels_alike_have_nearly_cohens_kappa() -> None:
    rows = [("a", "a")] * 40 + [("b", "b")] * 40 + [("a", "b")] * 10 + [("b", "a")] * 10
    items = [{"ann": one, "bob": other} for one, other in rows]
    (pair, confusion), *rest = pairwise(["a", "b"], items).items()
    cohen = cohen_kappa(confusion)
    fleiss = fleiss_kappa(
        [{one: 2} if one == other else {one: 1, other: 1} for one, other in rows]
    )
    assert (pair, rest) == (("ann", "bob"), [])
    assert cohen is not None
    assert fleiss is not None
    assert cohen.value == pytest.approx(0.6)
    assert fleiss.value == pytest.approx(0.6)


def test_people_are_compared_over_the_items_both_labelled() -> None:
    items = [
        {"bob": "maybe", "ann": "relevant"},
        {"ann": "relevant", "cleo": "relevant"},
        {"cleo": "maybe"},
    ]
    found = pairwise(LABELS, items)
    assert {who: dict(c.weights) for who, c in found.items()} == {
        ("ann", "bob"): {("relevant", "maybe"): 1},
        ("ann", "cleo"): {("relevant", "relevant"): 1},
    }


def test_the_95_percent_interval_of_kappa_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(20261121)
    shares = np.array([30, 4, 2, 5, 12, 6, 3, 8, 30]) / 100
    truth = cohen_kappa(confusion_of(LABELS, dict(zip(PAIRS, shares, strict=True))))
    assert truth is not None
    runs, held = 500, 0
    for drawn in rng.multinomial(400, shares, size=runs):
        kappa = cohen_kappa(
            confusion_of(LABELS, dict(zip(PAIRS, map(int, drawn), strict=True)))
        )
        assert kappa is not None
        held += abs(kappa.value - truth.value) <= 1.959963984540054 * kappa.se
    # Binomial: 0.95 less one point for the asymptotics, within 3 standard errors.
    assert held / runs >= 0.94 - 3 * math.sqrt(0.94 * 0.06 / runs)
    assert held / runs <= 0.95 + 3 * math.sqrt(0.95 * 0.05 / runs)
