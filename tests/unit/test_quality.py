"""How good an arm is as a judge, from the counts of labels alone."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.cells import Cell
from sidecar.core.facts import MICRO
from sidecar.core.quality import arm_quality
from tests.cells import LABELS

YES_NO = ("yes", "no")


def cell(pairs: dict[tuple[str, str], int]) -> Cell:
    """Fill a cell with pairs of labels, the model's first, each of weight 10."""
    totals = {"labelled": sum(pairs.values())}
    for pair, n in pairs.items():
        name = json.dumps(list(pair))
        totals |= {f"confusion:{name}": n, f"confusion_w:{name}": n * 10 * MICRO}
    return Cell(totals)


def test_a_known_table_has_its_known_kappa_precision_and_recall() -> None:
    """Cohen's kappa of 0.4 at an agreement of 0.7, as textbooks work it out."""
    pairs = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    found = arm_quality("canary", cell(pairs), YES_NO)
    assert found.agreement is not None
    assert found.kappa is not None
    assert (found.agreement.value, found.kappa.value) == pytest.approx((0.7, 0.4))
    yes, _ = found.labels
    assert yes.precision is not None
    assert yes.recall is not None
    assert (yes.precision.value, yes.recall.value) == pytest.approx((0.8, 2 / 3))
    assert (found.weighted_kappa, found.labelled) == (None, 50)


def test_only_labels_with_an_order_have_a_weighted_kappa() -> None:
    near = {("maybe", "relevant"): 10, ("irrelevant", "irrelevant"): 10}
    far = {("irrelevant", "relevant"): 10, ("irrelevant", "irrelevant"): 10}
    kappas = [
        arm_quality("canary", cell({**pairs, ("relevant", "relevant"): 10}), LABELS)
        for pairs in (near, far)
    ]
    values = [found.weighted_kappa.value for found in kappas if found.weighted_kappa]
    assert len(values) == 2
    assert values[0] > values[1]


@pytest.mark.parametrize("labels", [(), ("only",), YES_NO, LABELS])
def test_without_labels_everything_is_null_and_nothing_is_0(labels: tuple[str, ...]) -> None:
    found = arm_quality("canary", Cell({}), labels)
    numbers = (found.agreement, found.kappa, found.weighted_kappa, found.brier)
    assert (numbers, found.calibration_error) == ((None,) * 4, None)
    assert (found.labelled, list(found.labels)) == (0, [])


def test_pairs_of_labels_that_are_no_more_are_left_out() -> None:
    found = arm_quality("canary", cell({("yes", "yes"): 5, ("old", "yes"): 50}), YES_NO)
    assert found.agreement is not None
    assert found.agreement.value == 1


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([*LABELS, "old"]), st.sampled_from([*LABELS, "old"])),
        st.sampled_from([1, 2, 40, 10**7]),
    )
)
def test_any_table_gives_finite_numbers_in_their_range(
    pairs: dict[tuple[str, str], int],
) -> None:
    found = arm_quality("canary", cell(pairs), LABELS)
    json.dumps(asdict(found), allow_nan=False)
    shares = [found.agreement, *(each for label in found.labels for each in (label.f1,))]
    for each in shares:
        assert each is None or (0 <= each.value <= 1 + 1e-12 and math.isfinite(each.se))
    assert found.kappa is None or -1 - 1e-12 <= found.kappa.value <= 1 + 1e-12
