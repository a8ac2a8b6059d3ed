import pytest

from tests.bench.chaos import run


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_or_doubled_when_things_are_killed() -> None:
    said: list[str] = []
    outcome = run(3, say=said.append)
    assert len(said) == 3
    assert outcome.acknowledged > 100
    assert (outcome.lost, outcome.duplicated, outcome.failed_by_us) == (0, 0, 0)
    assert outcome.unrecorded == 0
