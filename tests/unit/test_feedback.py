"""What may be said of a call, and what is kept of it?"""

import math

import pytest

from sidecar.core.errors import Invalid
from sidecar.core.feedback import Word, label_word, shown_value, value_word

LABELS = ("relevant", "irrelevant", "maybe")


@pytest.mark.parametrize("label", ["maybe", "Maybe", " MAYBE\n"])
def test_a_label_is_kept_as_the_set_spells_it(label: str) -> None:
    assert label_word(label, LABELS) == Word("label", label="maybe")


def test_a_label_outside_the_set_is_refused_with_the_set() -> None:
    with pytest.raises(Invalid, match=r"'perhaps' .* relevant, irrelevant, maybe"):
        label_word("perhaps", LABELS)


def test_a_call_that_is_no_judges_takes_no_label() -> None:
    with pytest.raises(Invalid, match="no judge's"):
        label_word("relevant", ())


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("approved", False, Word("approved", value=0, is_boolean=True)),
        ("sent", True, Word("sent", value=1_000_000, is_boolean=True)),
        ("score", 0.1234567, Word("score", value=123_457)),
        ("score", -3, Word("score", value=-3_000_000)),
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
        ("label", True),
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
