"""What would a judge have answered with the right label?"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.corrections import corrected
from sidecar.core.verdicts import Verdict, parse_verdict


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param("maybe", "relevant", id="a bare label"),
        pytest.param(" Maybe.\n", "relevant", id="a bare label with white space"),
        pytest.param("not relevant", "relevant", id="a label of two words"),
        pytest.param('{"label":"maybe"}', '{"label":"relevant"}', id="compact"),
        pytest.param('{"label": "maybe"}', '{"label": "relevant"}', id="as Python writes it"),
        pytest.param(
            '{\n  "label": "maybe",\n  "confidence": 0.5\n}',
            '{\n  "label": "relevant"\n}',
            id="indented",
        ),
        pytest.param(
            '```json\n{"label":"maybe"}\n```', '```json\n{"label":"relevant"}\n```', id="fenced"
        ),
        pytest.param(
            'It hardly fits:\n```\n{"label": "maybe"}\n```\nI am sure.',
            '```\n{"label": "relevant"}\n```',
            id="the prose around a fence pleads for the wrong label",
        ),
        pytest.param(
            "I think that this post is not relevant, because it is about cats and dogs.",
            '{"label": "relevant"}',
            id="prose is no verdict",
        ),
        pytest.param('{"label": "maybe", "conf', '{"label": "relevant"}', id="broken off"),
        pytest.param("", '{"label": "relevant"}', id="empty"),
        pytest.param("[" * 100_000, '{"label": "relevant"}', id="nested beyond reading"),
    ],
)
def test_the_answer_keeps_its_form(answer: str, expected: str) -> None:
    assert corrected(answer, "relevant", None) == expected


def test_nobody_vouches_for_the_confidence_and_the_reasoning_of_a_wrong_answer() -> None:
    answer = '{"confidence": 0.99, "reasoning": "It is spam.", "label": "irrelevant"}'
    assert corrected(answer, "relevant", None) == '{"label": "relevant"}'
    assert corrected(answer, "relevant", "  ") == '{"label": "relevant"}'


def test_the_reviewers_reason_takes_the_reasonings_place() -> None:
    answer = '{"reasoning": "It is spam.", "label": "irrelevant"}'
    assert (
        corrected(answer, "relevant", "Asks for “help” 🙏")
        == '{"reasoning": "Asks for “help” 🙏", "label": "relevant"}'
    )


@given(
    st.sampled_from(["relevant", "maybe", "déjà vu"]),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
)
def test_a_corrected_object_reads_as_the_right_verdict(
    label: str, reason: str | None, indent: int | str | None, is_fenced: bool
) -> None:
    document = {"label": "other", "confidence": 0.3, "reasoning": "words"}
    answer = json.dumps(document, indent=indent)
    answer = f"```json\n{answer}\n```" if is_fenced else answer
    right = corrected(answer, label, reason)
    kept = reason.strip() if reason and reason.strip() else None
    found = parse_verdict(right, [label])
    if kept is None or "```" not in kept:  # a fence within a fence ends it
        assert found == Verdict(label, None, kept and kept[:4_000])
