"""What has become of a draft?"""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.drafts import Draft, State, draft_of
from sidecar.core.feedback import Feedback, Kind, Source

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GENERATED = "Thank you."
KINDS = {"approve": Kind.APPROVE, "edit": Kind.EDIT, "reject": Kind.REJECT}


def word(number: int, what: str, *, is_current: bool = True) -> Feedback:
    """Make a word: `edit TEXT`, `sent`, `unsent`, `score`, or an approval or rejection."""
    kind, _, text = what.partition(" ")
    values = {"approve": True, "sent": True, "score": 0.5}
    plain = {"score": Kind.SCORE, "sent": Kind.FLAG, "unsent": Kind.FLAG}
    names = {"score": "score", "sent": "sent", "unsent": "sent"}
    return Feedback(
        id=number,
        call_id="c",
        kind={**plain, **KINDS}[kind],
        name=names.get(kind, "approved"),
        source=Source.CORRECTION,
        reviewer=f"reviewer-{number}",
        label=None,
        value=values.get(kind, False),
        text=text or None,
        rejected=None,
        other_call_id=None,
        comment=None,
        key=None,
        at=NOON,
        actor="tests",
        is_current=is_current,
        supersedes=None,
    )


@pytest.mark.parametrize(
    ("said", "state", "final"),
    [
        ([], State.GENERATED, None),
        (["score"], State.GENERATED, None),
        (["approve"], State.APPROVED, GENERATED),
        (["edit So."], State.EDITED, "So."),
        (["reject"], State.REJECTED, None),
        (["reject Better."], State.REJECTED, None),  # better is not yet final
        (["edit So.", "edit Thus."], State.EDITED, "Thus."),
        (["edit So.", "sent"], State.SENT, "So."),
        (["sent", "edit So."], State.SENT, "So."),  # a person improved it afterwards
        (["approve", "sent"], State.SENT, GENERATED),
        (["sent"], State.SENT, GENERATED),  # nobody looked
        (["edit So.", "unsent"], State.EDITED, "So."),
        (["edit So.", "sent", "reject"], State.REJECTED, None),
        (["reject", "sent"], State.SENT, None),  # of what was sent nobody told
        (["reject", "edit So.", "approve"], State.APPROVED, GENERATED),
    ],
)
def test_a_draft_is_what_was_decided_last(
    said: list[str], state: State, final: str | None
) -> None:
    words = [word(number, what) for number, what in enumerate(said, 1)]
    assert draft_of(words, GENERATED) == Draft(state, final)


def test_what_a_reviewer_took_back_counts_no_more() -> None:
    words = [word(1, "edit So."), word(2, "reject", is_current=False)]
    assert draft_of(words, GENERATED) == Draft(State.EDITED, "So.")


def test_an_approved_draft_without_a_text_has_no_final_one() -> None:
    assert draft_of([word(1, "approve")], None) == Draft(State.APPROVED, None)


@given(st.lists(st.sampled_from(["approve", "edit So.", "reject", "sent", "unsent", "score"])))
def test_the_order_in_which_words_are_listed_is_of_no_account(said: list[str]) -> None:
    words = [word(number, what) for number, what in enumerate(said, 1)]
    assert draft_of(words[::-1], GENERATED) == draft_of(words, GENERATED)


@given(st.lists(st.sampled_from(["approve", "edit So.", "sent", "score"]), min_size=1))
def test_what_was_sent_stays_sent_unless_it_is_rejected(said: list[str]) -> None:
    words = [word(number, what) for number, what in enumerate(["sent", *said], 1)]
    assert draft_of(words, GENERATED).state is State.SENT
