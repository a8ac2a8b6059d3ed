"""What may be said of a call, and what is kept of it?"""

import math

import pytest

from sidecar.core.errors import Invalid
from sidecar.core.feedback import (
    MAX_TEXT_BYTES,
    Kind,
    Source,
    Word,
    approval_word,
    choice_word,
    edit_word,
    label_word,
    pair_word,
    shown_value,
    value_word,
)
from sidecar.core.said import Said, form_of

LABELS = ("relevant", "irrelevant", "maybe")


@pytest.mark.parametrize("label", ["maybe", "Maybe", " MAYBE\n"])
def test_a_label_is_kept_as_the_set_spells_it(label: str) -> None:
    assert label_word(label, LABELS) == Word(Kind.LABEL, "label", label="maybe")


def test_a_label_outside_the_set_is_refused_with_the_set() -> None:
    with pytest.raises(Invalid, match=r"'perhaps' .* relevant, irrelevant, maybe"):
        label_word("perhaps", LABELS)


def test_a_call_that_is_no_judges_takes_no_label() -> None:
    with pytest.raises(Invalid, match="no judge's"):
        label_word("relevant", ())


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("approved", False, Word(Kind.REJECT, "approved", value=0, is_boolean=True)),
        ("sent", True, Word(Kind.FLAG, "sent", value=1_000_000, is_boolean=True)),
        ("score", 0.1234567, Word(Kind.SCORE, "score", value=123_457)),
        ("score", -3, Word(Kind.SCORE, "score", value=-3_000_000)),
    ],
)
def test_a_value_is_kept_in_millionths(name: str, value: float, kept: Word) -> None:
    assert value_word(name, value) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("approved", 1),
        ("approved", 0.5),
        ("score", "high"),
        ("score", None),
        ("score", math.nan),
        ("score", math.inf),
        ("score", 1e7),
        pytest.param("score", 10**400, id="more than a float can be"),
        ("sent", 1),
        ("label", True),
        ("comment", True),
        ("choice.x", 1),
        ("pair.x", 1),
        ("Score", 1),
        ("a b", 1),
        ("", 1),
        ("x" * 64, 1),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(Invalid):
        value_word(name, value)


def test_a_value_is_shown_as_it_was_said() -> None:
    assert shown_value(1_000_000, is_boolean=True) is True
    assert shown_value(250_000, is_boolean=False) == 0.25
    assert shown_value(None, is_boolean=False) is None


def test_an_approval_and_a_rejection_bear_one_name_so_that_one_supersedes_the_other() -> None:
    good, bad = approval_word(approved=True), approval_word(approved=False, better="So.")
    edited = edit_word("So.", "As it was.")
    assert {good.name, bad.name, edited.name} == {"approved"}
    assert (good.kind, good.value, good.text) == (Kind.APPROVE, 1_000_000, None)
    assert (bad.kind, bad.value, bad.text) == (Kind.REJECT, 0, "So.")
    assert (edited.kind, edited.value, edited.text) == (Kind.EDIT, 0, "So.")


def test_what_is_approved_has_no_better_text() -> None:
    with pytest.raises(Invalid, match="no better text"):
        approval_word(approved=True, better="So.")


def test_an_edit_that_changes_nothing_is_refused_and_one_of_white_space_is_not() -> None:
    with pytest.raises(Invalid, match="approved: true"):
        edit_word("As it was.", "As it was.")
    assert edit_word("As it was. ", "As it was.").text == "As it was. "
    assert edit_word("New.", None).text == "New."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\0b", "NUL"),
        ("a\ud800b", "surrogate"),
        ("\udcff", "surrogate"),
        ("", "blank"),
        (" \n\t\u2003", "blank"),
        ("é" * (MAX_TEXT_BYTES // 2) + "x", "1,000,001 bytes"),
        ("x" * 5_000_000, "5,000,000 bytes"),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused_without_quoting_it(text: str, says: str) -> None:
    for said in (
        lambda: edit_word(text, None),
        lambda: approval_word(approved=False, better=text),
        lambda: pair_word(text, "b"),
        lambda: pair_word("a", text),
    ):
        with pytest.raises(Invalid, match=says) as found:
            said()
        assert len(str(found.value)) < 200


def test_a_text_may_be_as_long_as_the_limit_and_of_any_language() -> None:
    text = "🇨🇭" * (MAX_TEXT_BYTES // 8)
    assert edit_word(text, "x").text == text


def test_a_choice_turned_round_bears_the_same_name_on_the_same_call() -> None:
    first, preferred = choice_word("a", "b", is_tie=False)
    again, turned = choice_word("b", "a", is_tie=False)
    _, tie = choice_word("b", "a", is_tie=True)
    assert (first, again, preferred.other_call_id) == ("a", "a", "b")
    assert preferred.name == turned.name == tie.name == "choice.b"
    assert (preferred.value, turned.value, tie.value) == (1_000_000, 0, 500_000)
    with pytest.raises(Invalid, match="itself"):
        choice_word("a", "a", is_tie=True)


def test_two_pairs_bear_different_names_even_when_their_texts_join_alike() -> None:
    names = {pair_word("ab", "c").name, pair_word("a", "bc").name, pair_word("c", "ab").name}
    assert len(names) == 3
    # SHA-256 of "a", a NUL and "b", as sha256sum gives it.
    assert pair_word("a", "b").name == "pair.59b271ae1bbcb1d3"


def said(**more: object) -> Said:
    return Said(source=Source.CORRECTION, reviewer="ann", call_id="c", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "form"),
    [
        ({"label": "maybe", "comment": "why"}, "label"),
        ({"approved": False, "better": "So."}, "approved"),
        ({"approved": True, "better": "So."}, "approved"),  # refused when it is read
        ({"edit": ""}, "edit"),
        ({"name": "sent", "value": False}, "name and value"),
        ({"over": "d"}, "over"),
        ({"tie_with": "d"}, "tie_with"),
        ({"pair": ("a", "b")}, "pair"),
        ({"comment": "why"}, "comment"),
    ],
)
def test_one_thing_is_said_with_or_without_a_comment(
    more: dict[str, object], form: str
) -> None:
    assert form_of(said(**more)) == form


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, "found none"),
        ({"comment": " \n"}, "found none"),
        ({"better": "So."}, "found better"),
        ({"better": "So.", "edit": "So."}, "found edit, better"),
        ({"name": "score"}, "found name and value"),
        ({"value": 0}, "found name and value"),
        ({"over": "d", "tie_with": "d"}, "found over, tie_with"),
        ({"label": "maybe", "approved": False}, "found label, approved"),
    ],
)
def test_nothing_or_several_things_said_at_once_are_refused(
    more: dict[str, object], found: str
) -> None:
    with pytest.raises(Invalid, match=f"exactly one; {found}"):
        form_of(said(**more))
