"""Is an arm's designed share what its stages say?"""

import pytest

from sidecar.core.results import StageDesign, designed_share

HALF = StageDesign(2, {"primary": 5_000, "canary": 5_000})
TENTH = StageDesign(1, {"primary": 9_000, "canary": 1_000})
SAME = StageDesign(3, {"primary": 9_000, "canary": 1_000})
LOST = StageDesign(4, {})


@pytest.mark.parametrize(
    ("designs", "calls", "share"),
    [
        pytest.param([TENTH], {}, 0.1, id="one stage, no calls"),
        pytest.param([TENTH, SAME], {}, 0.1, id="two stages of equal shares, no calls"),
        pytest.param([TENTH, HALF], {1: 300, 2: 100}, 0.2, id="weighted by calls"),
        pytest.param([TENTH, HALF], {}, None, id="nothing to weight by"),
        pytest.param([TENTH, LOST], {1: 5, 4: 95}, 0.1, id="a stage without a record"),
        pytest.param([LOST], {4: 95}, None, id="no stage on record"),
        pytest.param([], {}, None, id="no stage"),
    ],
)
def test_the_designed_share_over_stages(
    designs: list[StageDesign], calls: dict[int, int], share: float | None
) -> None:
    found = designed_share(designs, "canary", calls)
    assert found == (None if share is None else pytest.approx(share))


def test_an_arm_that_no_stage_designed_has_no_share() -> None:
    assert designed_share([TENTH], "stranger", {1: 5}) is None


def test_an_arm_of_some_stages_had_no_share_in_the_others() -> None:
    alone = StageDesign(1, {"primary": 10_000})
    assert designed_share([alone, HALF], "canary", {1: 100, 2: 100}) == pytest.approx(0.25)
