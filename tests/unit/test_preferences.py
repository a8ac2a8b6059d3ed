"""What does a word teach?"""

from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.core.feedback import Feedback, Kind, Source
from sidecar.core.matching import matches
from sidecar.core.preferences import (
    NOTHING,
    Asked,
    Completion,
    Lesson,
    Origin,
    Pair,
    Prompted,
    Refusal,
    Written,
    content_hash,
    lesson_of,
)

PROMPT = Prompted("default", "reply", b"hash")
BAD = Written("Thank you.", "drafter-1")
GOOD = Written("Thank you, Ann.")
NAMES = {Kind.LABEL: "label", Kind.COMMENT: "comment", Kind.SCORE: "clarity", Kind.FLAG: "sent"}


def word(kind: Kind, **more: Any) -> Feedback:
    plain: dict[str, Any] = {
        "id": 7,
        "call_id": "c1",
        "kind": kind,
        "name": NAMES.get(kind, "approved"),
        "source": Source.CORRECTION,
        "reviewer": "ann",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "actor": "admin",
        "is_current": True,
        "supersedes": None,
    }
    unsaid = dict.fromkeys(
        ("label", "value", "text", "rejected", "other_call_id", "comment", "key")
    )
    return Feedback(**{**plain, **unsaid, **more})


def asked(call_id: str = "c1", **more: Any) -> Asked:
    plain = {
        "project_id": "default",
        "prompt": PROMPT,
        "answer": BAD,
        "verdict_label": None,
    }
    return Asked(call_id, **{**plain, **more})


def lesson(said: Feedback, *calls: Asked, min_edit: float = 0.0) -> Lesson:
    return lesson_of(said, {call.call_id: call for call in calls or (asked(),)}, min_edit)


def good(text: Written = GOOD, feedback_id: int = 7) -> Completion:
    return Completion(feedback_id, is_good=True, prompt=PROMPT, call_id="c1", said=text)


def bad(text: Written = BAD, feedback_id: int = 7) -> Completion:
    return Completion(feedback_id, is_good=False, prompt=PROMPT, call_id="c1", said=text)


@pytest.mark.parametrize(
    ("kind", "origin"), [(Kind.EDIT, Origin.EDIT), (Kind.REJECT, Origin.REJECTION)]
)
def test_a_better_text_gives_a_pair_and_both_texts(kind: Kind, origin: Origin) -> None:
    found = lesson(word(kind, text=GOOD.text))
    assert found.pair == Pair(origin, PROMPT, "c1", GOOD, BAD, feedback_id=7)
    assert set(found.completions) == {good(), bad()}


def test_an_approval_says_that_the_generated_text_is_good() -> None:
    assert lesson(word(Kind.APPROVE)) == Lesson((good(BAD),))


def test_a_rejection_without_a_better_text_is_kept_for_later() -> None:
    assert lesson(word(Kind.REJECT, comment="too long")) == Lesson((bad(),))


@pytest.mark.parametrize("kind", [Kind.SCORE, Kind.FLAG, Kind.COMMENT])
def test_a_word_that_compares_no_texts_teaches_nothing(kind: Kind) -> None:
    assert lesson(word(kind, value=True, comment="Hm.")) == NOTHING


@pytest.mark.parametrize(
    ("said", "call", "expected"),
    [
        pytest.param(
            word(Kind.EDIT, text="Thank \n you. "),
            asked(),
            Lesson((good(Written("Thank \n you. ")),), refusal=Refusal.EQUAL),
            id="only white space was edited: the text is good, and nothing is bad",
        ),
        pytest.param(
            word(Kind.REJECT, text="Thank  you."),
            asked(),
            Lesson((bad(),), refusal=Refusal.EQUAL),
            id="the better text is the rejected one",
        ),
        pytest.param(
            word(Kind.EDIT, text=GOOD.text),
            asked(answer=Written(" \n", "drafter-1")),
            Lesson((good(),), refusal=Refusal.EMPTY),
            id="nothing was generated",
        ),
        pytest.param(
            word(Kind.REJECT, text=GOOD.text),
            asked(answer=Written("", "drafter-1")),
            Lesson((good(),), refusal=Refusal.EMPTY),
            id="nothing was generated, but something better was given",
        ),
        pytest.param(
            word(Kind.REJECT),
            asked(answer=Written("", "drafter-1")),
            Lesson(refusal=Refusal.EMPTY),
            id="nothing was rejected",
        ),
        pytest.param(
            word(Kind.EDIT, text=GOOD.text),
            asked(answer=None),
            Lesson((good(),), refusal=Refusal.NO_TEXT),
            id="no text never becomes the text None",
        ),
        pytest.param(
            word(Kind.REJECT), asked(answer=None), Lesson(refusal=Refusal.NO_TEXT), id="a tool"
        ),
        pytest.param(
            word(Kind.EDIT, text=GOOD.text),
            asked(prompt=None),
            Lesson(refusal=Refusal.NO_PROMPT),
            id="no prompt",
        ),
        pytest.param(word(Kind.APPROVE), asked(prompt=None), NOTHING, id="approved, no prompt"),
        pytest.param(word(Kind.APPROVE), asked(answer=None), NOTHING, id="approved, no text"),
        pytest.param(
            word(Kind.PAIR, text="One.", rejected=" One. "),
            asked(),
            Lesson(refusal=Refusal.EQUAL),
            id="a pair of one text",
        ),
        pytest.param(
            word(Kind.PAIR, text=None, rejected="None"),
            asked(),
            Lesson(refusal=Refusal.EMPTY),
            id="a pair without a chosen text",
        ),
    ],
)
def test_what_gives_no_pair_says_why(said: Feedback, call: Asked, expected: Lesson) -> None:
    assert lesson(said, call) == expected


@pytest.mark.parametrize("kind", [Kind.EDIT, Kind.REJECT])
def test_an_edit_under_the_limit_gives_no_pair(kind: Kind) -> None:
    said = word(kind, text="Thank you!")
    assert lesson(said).pair is not None  # without a limit none is too small
    found = lesson(said, min_edit=0.2)
    assert (found.pair, found.refusal) == (None, Refusal.TOO_SMALL)
    assert lesson(word(kind, text=GOOD.text), min_edit=0.2).pair is not None


@pytest.mark.parametrize(("value", "winner"), [(1.0, "c1"), (0.0, "c2")])
def test_a_choice_prefers_one_calls_answer_over_the_others(value: float, winner: str) -> None:
    calls = [asked("c1", answer=Written("One.", "a")), asked("c2", answer=Written("Two.", "b"))]
    said = word(Kind.CHOICE, value=value, other_call_id="c2")
    texts = {"c1": Written("One.", "a"), "c2": Written("Two.", "b")}
    chosen = texts.pop(winner)
    [rejected] = texts.values()
    expected = Pair(Origin.CHOICE, PROMPT, "c1", chosen, rejected, feedback_id=7)
    assert lesson(said, *calls) == Lesson(pair=expected)


def test_a_tie_prefers_neither() -> None:
    said = word(Kind.CHOICE, value=0.5, other_call_id="c2")
    assert lesson(said, asked("c1"), asked("c2", answer=GOOD)) == NOTHING


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (asked("c2", prompt=Prompted("default", "reply", b"other")), Refusal.NO_PROMPT),
        (asked("c2", prompt=None), Refusal.NO_PROMPT),
        (asked("c2", answer=None), Refusal.NO_TEXT),
        (asked("c2"), Refusal.EQUAL),
    ],
)
def test_a_choice_needs_one_prompt_and_two_texts(other: Asked, why: Refusal) -> None:
    said = word(Kind.CHOICE, value=1.0, other_call_id="c2")
    assert lesson(said, asked("c1"), other) == Lesson(refusal=why)


def test_a_manual_pair_is_a_persons_but_for_what_the_model_wrote() -> None:
    found = lesson(word(Kind.PAIR, text="Mine.", rejected=BAD.text)).pair
    assert found == Pair(Origin.MANUAL, PROMPT, "c1", Written("Mine."), BAD, feedback_id=7)


def test_a_label_that_agrees_teaches_nothing_here() -> None:
    judge = asked(answer=Written('{"label":"maybe"}', "judge-1"), verdict_label="maybe")
    assert lesson(word(Kind.LABEL, label="maybe"), judge) == NOTHING


@pytest.mark.parametrize("verdict", ["maybe", None])
def test_a_corrected_label_prefers_the_corrected_answer(verdict: str | None) -> None:
    answer = Written('{"label":"maybe"}', "judge-1")
    said = word(Kind.LABEL, label="relevant", comment="Asks.")
    found = lesson(said, asked(answer=answer, verdict_label=verdict))
    right = Written('{"label":"relevant","reasoning":"Asks."}')
    expected = Pair(Origin.LABEL, PROMPT, "c1", right, answer, feedback_id=7)
    assert found == Lesson(pair=expected)


def test_a_label_for_an_answer_without_text_gives_no_pair() -> None:
    found = lesson(word(Kind.LABEL, label="relevant"), asked(answer=None))
    assert found == Lesson(refusal=Refusal.NO_TEXT)


def test_each_rejected_text_is_paired_with_the_latest_good_one() -> None:
    goods = [good(Written("Older."), 3), good(Written("Newer.", "drafter-2"), 5)]
    found = matches([bad(feedback_id=2), bad(Written("Other."), 4)], goods, new={5})
    assert [(pair.feedback_id, pair.with_id) for pair in found] == [(2, 5), (4, 5)]
    assert found[0] == Pair(
        Origin.REJECTION, PROMPT, "c1", Written("Newer.", "drafter-2"), BAD, 2, 5
    )


def test_two_words_of_before_are_left_alone() -> None:
    assert matches([bad(feedback_id=2)], [good(feedback_id=3)], new={9}) == []


def test_a_text_is_not_preferred_over_itself_or_over_nearly_itself() -> None:
    same, near = good(Written("Thank  you."), 9), good(Written("Thank you!"), 8)
    assert matches([bad(feedback_id=2)], [same, near], {8, 9}, min_edit=0.2) == []
    [pair] = matches([bad(feedback_id=2)], [same, near], {8, 9})
    assert pair.with_id == 8


def test_a_good_text_for_another_prompt_is_none_for_this() -> None:
    other = Completion(9, True, Prompted("default", "other", b"hash"), "c2", GOOD)
    assert matches([bad(feedback_id=2)], [other], {9}) == []


def test_the_order_of_two_texts_is_part_of_the_content() -> None:
    one, two = content_hash(b"p", b"a", b"b"), content_hash(b"p", b"b", b"a")
    assert len({one, two, content_hash(b"p", b"ab", b""), content_hash(b"q", b"a", b"b")}) == 4
