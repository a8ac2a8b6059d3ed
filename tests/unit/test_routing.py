import pytest

from sidecar.core.assignment import ranges
from sidecar.core.routing import Arm, Group, Task, Unit, UnitSource, decide, eligible

PRIMARY, CANARY, SECOND = "primary", "canary", "second"


def group(
    primary: int = 5_000, canary: int = 3_000, second: int = 2_000, **more: bool
) -> Group:
    share_bp = {PRIMARY: primary, CANARY: canary, SECOND: second}
    deployments = {PRIMARY: ("p1", "p2"), CANARY: ("c1", "c2"), SECOND: ("s1",)}
    arms = tuple(Arm(name, bp, deployments[name]) for name, bp in share_bp.items())
    return Group("judge", Task.JUDGE, arms, ranges(share_bp), salt="salt", **more)  # type: ignore[arg-type]


ALL = ("p1", "p2", "c1", "c2", "s1")


@pytest.mark.parametrize(
    ("assigned", "healthy", "tried", "chosen"),
    [
        pytest.param(CANARY, ALL, (), {"c1", "c2"}, id="the assigned arm, all of it"),
        pytest.param(CANARY, ALL, ("c1",), {"c2"}, id="its other deployment first"),
        pytest.param(CANARY, ALL, ("c1", "c2"), {"p1", "p2"}, id="then the primary"),
        pytest.param(CANARY, ("p1", "s1"), (), {"p1"}, id="the primary when it cools down"),
        pytest.param(CANARY, ("s1",), (), set(), id="never to another canary"),
        pytest.param(CANARY, ALL, ALL, {"p1", "p2"}, id="all failed: the primary again"),
        pytest.param(PRIMARY, ALL, ("p1",), {"p2"}, id="the primary's other deployment"),
        pytest.param(
            PRIMARY, ALL, ("p1", "p2"), {"p1", "p2"}, id="the primary tries itself again"
        ),
        pytest.param(
            PRIMARY, ("c1", "c2", "s1"), (), set(), id="the primary never to a canary"
        ),
    ],
)
def test_who_may_serve_the_next_try(
    assigned: str, healthy: tuple[str, ...], tried: tuple[str, ...], chosen: set[str]
) -> None:
    assert eligible(group(), assigned, healthy=healthy, tried=tried) == chosen


def test_an_arm_of_share_0_gets_nothing_not_even_a_failover() -> None:
    promoted = group(primary=0, canary=10_000, second=0)
    assert eligible(promoted, CANARY, healthy=ALL, tried=("c1", "c2")) == {"c1", "c2"}
    assert eligible(group(10_000, 0, 0), CANARY, healthy=ALL, tried=()) == {"p1", "p2"}


def test_a_paused_experiment_is_served_by_the_primary_alone() -> None:
    paused = group(primary=0, canary=10_000, second=0, paused=True)
    assert decide(paused, Unit("u", UnitSource.USER)).arm == PRIMARY
    assert eligible(paused, PRIMARY, healthy=ALL, tried=()) == {"p1", "p2"}


def test_a_group_with_one_arm_is_not_filtered_and_draws_no_bucket() -> None:
    arms = (Arm(PRIMARY, 10_000, ()),)
    single = Group("solo", Task.OTHER, arms, ranges({PRIMARY: 10_000}))
    assert eligible(single, PRIMARY, healthy=ALL, tried=("p1",)) is None
    assert decide(single, Unit("u", UnitSource.USER)).bucket is None


def test_an_assignment_does_not_depend_on_who_is_healthy() -> None:
    units = [Unit(f"u{n}", UnitSource.USER) for n in range(2_000)]
    arms = [decide(group(), unit).arm for unit in units]
    assert arms == [decide(group(), unit).arm for unit in units]
    # 3 standard deviations of a binomial with 2,000 draws.
    assert abs(arms.count(CANARY) - 600) < 3 * (2_000 * 0.3 * 0.7) ** 0.5
    assert abs(arms.count(SECOND) - 400) < 3 * (2_000 * 0.2 * 0.8) ** 0.5
