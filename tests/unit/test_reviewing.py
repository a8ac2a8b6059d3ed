"""Which calls wait for whom, what a reviewer sees, and how far two people agree."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from sidecar.cli.review import keys_of, texts_of
from sidecar.core.agreement import agreement_of
from sidecar.core.errors import Invalid
from sidecar.core.reviewing import Kind, State, blind, is_double, kind_of

LABELS = ("relevant", "irrelevant", "maybe")
IDS = [f"019a8f0e-0000-7000-8000-{number:012x}" for number in range(4_000)]


def state(**more: Any) -> State:
    plain = {
        "call_id": IDS[0],
        "task": "judge",
        "outcome": "served",
        "is_drawn": True,
        "is_written": True,
        "is_recent": True,
        "audited_by": frozenset(),
        "is_decided": False,
    }
    return State(**{**plain, **more})


def draft(**more: Any) -> State:
    return state(**{"task": "draft", "is_drawn": False, **more})


def test_a_drawn_call_waits_until_somebody_has_labelled_it() -> None:
    assert kind_of(state(), "ann", 0.0) is Kind.AUDIT
    assert kind_of(state(audited_by={"bob"}), "ann", 0.0) is None
    assert kind_of(state(is_recent=False), "ann", 0.0) is Kind.AUDIT


def test_a_call_to_be_labelled_twice_waits_for_a_second_other_person() -> None:
    assert kind_of(state(audited_by={"ann"}), "bob", 1.0) is Kind.AUDIT
    assert kind_of(state(audited_by={"ann"}), "ann", 1.0) is None
    assert kind_of(state(audited_by={"ann", "bob"}), "cy", 1.0) is None


def test_a_drawn_draft_waits_for_one_person_only_and_whatever_its_author_did() -> None:
    drawn = state(task="draft", is_decided=True)
    assert kind_of(drawn, "ann", 1.0) is Kind.AUDIT
    assert kind_of(state(task="draft", audited_by={"ann"}), "bob", 1.0) is None


@pytest.mark.parametrize(
    "more",
    [
        {"is_decided": True},
        {"is_written": False},
        {"is_recent": False},
        {"outcome": "failed"},
        {"outcome": "incomplete"},
        {"task": "judge"},
        {"task": "other"},
    ],
)
def test_a_draft_waits_only_while_it_is_whole_recent_and_undecided(more: Any) -> None:
    assert kind_of(draft(), "ann", 0.0) is Kind.DRAFT
    assert kind_of(draft(**more), "ann", 0.0) is None


@pytest.mark.parametrize("outcome", ["failed_over", "diverted"])
def test_a_draft_that_another_arm_wrote_waits_as_well(outcome: str) -> None:
    assert kind_of(draft(outcome=outcome), "ann", 0.0) is Kind.DRAFT


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_about_the_share_is_labelled_twice(share: float) -> None:
    found = sum(is_double(call_id, share) for call_id in IDS)
    spread = math.sqrt(len(IDS) * share * (1 - share))
    assert abs(found - len(IDS) * share) < 4 * spread


def test_a_greater_share_keeps_what_a_smaller_one_holds() -> None:
    smaller, greater = (
        {call_id for call_id in IDS if is_double(call_id, share)} for share in (0.1, 0.3)
    )
    assert smaller < greater
    assert not any(is_double(call_id, 0.0) for call_id in IDS)
    assert all(is_double(call_id, 1.0) for call_id in IDS)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(Invalid, match="from 0 to 1"):
        is_double(IDS[0], share)


def test_a_reviewer_sees_what_was_asked_and_nothing_that_tells_the_arm() -> None:
    asked = {"messages": [{"role": "user", "content": "a post"}], "temperature": 0.0}
    telling = {"model": "ft:b", "metadata": {"arm": "b"}, "user": "u-1", "tags": ["b"]}
    assert blind({**asked, **telling}) == asked


items_strategy = st.lists(
    st.dictionaries(st.sampled_from(["ann", "bob"]), st.sampled_from(LABELS), min_size=1),
    max_size=40,
)


@given(items_strategy)
def test_kappas_are_those_of_other_libraries(items: list[dict[str, str]]) -> None:
    found = agreement_of(items)
    both = [item for item in items if len(item) == 2]
    assert found.n == len(both)
    if not both:
        assert (found.pairs, found.fleiss) == ([], None)
        return
    [pair] = found.pairs
    assert (pair.reviewers, pair.n) == (("ann", "bob"), len(both))
    assert pair.observed == pytest.approx(
        sum(item["ann"] == item["bob"] for item in both) / len(both)
    )
    assert pair.observed_low <= pair.observed + 1e-12
    assert pair.observed_high >= pair.observed - 1e-12
    if len({label for item in both for label in item.values()}) == 1:
        assert (pair.kappa, found.fleiss) == (None, None)
        return
    ratings = [[LABELS.index(item["ann"]), LABELS.index(item["bob"])] for item in both]
    theirs = cohen_kappa_score(*zip(*ratings, strict=True))
    assert pair.kappa is not None
    assert pair.kappa.value == pytest.approx(theirs)
    assert found.fleiss is not None
    assert found.fleiss.value == pytest.approx(fleiss_kappa(aggregate_raters(ratings)[0]))


def test_an_interval_that_nothing_tells_the_width_of_is_left_out() -> None:
    agreeing = [{"ann": label, "bob": label} for label in LABELS]
    [pair] = agreement_of(agreeing).pairs
    assert pair.kappa is not None
    assert (pair.kappa.value, pair.kappa.low, pair.kappa.high) == (1.0, None, None)
    [pair] = agreement_of([*agreeing, {"ann": "maybe", "bob": "relevant"}]).pairs
    assert pair.kappa is not None
    assert pair.kappa.low is not None
    assert -1 <= pair.kappa.low < pair.kappa.value < 1


def test_three_people_are_compared_two_by_two() -> None:
    items = [
        {"ann": "maybe", "bob": "maybe"},
        {"bob": "maybe", "cy": "relevant"},
        {"ann": "relevant", "bob": "relevant"},
    ]
    found = agreement_of(items)
    assert [(pair.reviewers, pair.n) for pair in found.pairs] == [
        (("ann", "bob"), 2),
        (("bob", "cy"), 1),
    ]


def test_labels_have_digits_and_first_letters_that_are_theirs_alone() -> None:
    keys = keys_of({"labels": ["spam", "safe", "Ham", "quiet"]})
    assert keys == {
        "1": "spam",
        "2": "safe",
        "3": "Ham",
        "h": "Ham",
        "4": "quiet",
        "s": "skip",
        "q": "quit",
    }
    assert keys_of({"labels": []})["e"] == "edit"


def test_texts_are_found_in_the_requests_of_every_api() -> None:
    parts = [{"type": "input_text", "text": "a post"}, {"type": "input_image"}]
    request = {"instructions": "judge", "input": [{"role": "user", "content": parts}]}
    assert list(texts_of(request)) == [
        ("system", "judge"),
        ("user", "a post"),
        ("user", "(input_image)"),
    ]
    chat = {"messages": [{"role": "system", "content": "judge"}, {"role": "user"}]}
    assert list(texts_of(chat)) == [("system", "judge")]
