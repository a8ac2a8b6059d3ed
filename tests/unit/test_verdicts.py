import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.verdicts import Verdict, VerdictFailure, failure_of, parse_verdict

LABELS = ("relevant", "irrelevant", "maybe")
INVALID = VerdictFailure.INVALID_OUTPUT


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"label": "maybe"}', Verdict("maybe", None, None)),
        ('{"label": " Relevant ", "confidence": 1}', Verdict("relevant", 1.0, None)),
        ('```json\n{"label": "maybe", "confidence": 0}\n```', Verdict("maybe", 0.0, None)),
        ('Sure:\n```\n{"label": "maybe"}\n```\nBye', Verdict("maybe", None, None)),
        (
            '{"label": "maybe", "reasoning": "it says ```x```"}',
            Verdict("maybe", None, "it says ```x```"),
        ),
        ('{"label": "maybe", "reasoning": 7}', Verdict("maybe", None, None)),
    ],
)
def test_an_answer_is_read_bare_or_in_a_fence(answer: str, verdict: Verdict) -> None:
    assert parse_verdict(answer, LABELS) == verdict


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "relevant",
        "[]",
        "null",
        '{"label": "relevant"',
        '{"label": "spam"}',
        '{"label": null}',
        '{"label": ["relevant"]}',
        '{"confidence": 0.5}',
        '{"label": "relevant", "confidence": 1.5}',
        '{"label": "relevant", "confidence": -0.1}',
        '{"label": "relevant", "confidence": true}',
        '{"label": "relevant", "confidence": "0.9"}',
        '{"label": "relevant", "confidence": NaN}',
        '{"label": "relevant", "confidence": Infinity}',
        "{" * 100_000,
        '{"label":' + "[" * 100_000,
    ],
    ids=lambda answer: answer[:40],
)
def test_what_cannot_be_read_is_invalid_and_never_a_default(answer: str) -> None:
    assert parse_verdict(answer, LABELS) is INVALID


@given(st.text())
def test_no_text_raises_and_none_becomes_a_label_by_chance(answer: str) -> None:
    found = parse_verdict(answer, LABELS)
    assert found is INVALID or (isinstance(found, Verdict) and found.label in LABELS)


def test_a_projects_own_labels_are_returned_as_it_spells_them() -> None:
    assert parse_verdict('{"label": "SPAM"}', ["Spam", "Ham"]) == Verdict("Spam", None, None)


@pytest.mark.parametrize(
    ("status", "error_class", "failure"),
    [
        (408, "Timeout", VerdictFailure.TIMEOUT),
        (504, None, VerdictFailure.TIMEOUT),
        (None, "ReadTimeout", VerdictFailure.TIMEOUT),
        (500, "InternalServerError", VerdictFailure.PROVIDER_ERROR),
        (None, "ReadError", VerdictFailure.PROVIDER_ERROR),
    ],
)
def test_a_call_without_an_answer_names_its_failure(
    status: int | None, error_class: str | None, failure: VerdictFailure
) -> None:
    assert failure_of(status=status, error_class=error_class) is failure
