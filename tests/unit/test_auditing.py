"""Are calls drawn with the probability that is written down?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.auditing import Design, draw, drawn, probability_ppm
from sidecar.core.errors import Invalid
from sidecar.core.plan import Audit, Weighting

UNCERTAIN = Weighting.UNCERTAIN


def ids(count: int) -> list[str]:
    return [f"019a8f0e-0000-7000-8000-{number:012x}" for number in range(count)]


def test_a_call_is_drawn_the_same_way_every_time() -> None:
    design = Design(Audit(rate=0.5), "exp-1")
    assert [drawn(design, each, None) for each in ids(50)] == [
        drawn(design, each, None) for each in ids(50)
    ]


def test_draws_are_as_many_as_the_rate_says() -> None:
    # Five standard deviations of a binomial of 20,000 at 5 % are 154.
    hits = sum(drawn(Design(Audit(rate=0.05), "exp-1"), each, 0.9)[1] for each in ids(20_000))
    assert abs(hits - 1_000) < 155


def test_other_salts_draw_independently() -> None:
    first = {each for each in ids(20_000) if draw(each, "exp-1") < 100_000}
    both = [each for each in first if draw(each, "exp-2") < 100_000]
    assert abs(len(both) - 200) < 75


def test_a_uniform_audit_draws_all_calls_alike() -> None:
    audit = Audit(rate=0.05)
    assert {probability_ppm(audit, c) for c in (None, 0.0, 0.5, 1.0)} == {50_000}


def test_an_uncertain_answer_is_drawn_more_often() -> None:
    audit = Audit(rate=0.1, weighting=UNCERTAIN)
    found = [probability_ppm(audit, c) for c in (0.5, 0.8, 0.95, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[1] == 100_000  # what is usual is drawn at the rate itself
    assert found[3] == 50_000  # half of the rate is the same for all
    assert probability_ppm(audit, None) == found[0]


@given(
    rate=st.floats(0.0001, 1),
    floor=st.floats(0.0001, 1),
    confidence=st.none() | st.floats(0, 1),
    weighting=st.sampled_from(Weighting),
)
def test_a_probability_is_never_0_and_never_above_1(
    rate: float, floor: float, confidence: float | None, weighting: Weighting
) -> None:
    audit = Audit(rate=rate, weighting=weighting, floor=floor)
    assert 1 <= probability_ppm(audit, confidence) <= 1_000_000


def test_a_weight_is_bounded_where_the_rate_is_not_below_the_floor() -> None:
    audit = Audit(rate=0.015, weighting=UNCERTAIN, floor=0.0001)
    assert probability_ppm(audit, 1.0) == 10_000


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(Invalid, match="rate"):
        probability_ppm(Audit(rate=rate), None)
