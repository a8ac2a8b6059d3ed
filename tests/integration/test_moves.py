"""Whatever people and the controller do, in any order: do the rules of an experiment hold?"""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.assignment import BUCKETS
from sidecar.core.errors import SignalopsError
from sidecar.core.experiments import Outcome, Status
from sidecar.core.planning import Wish
from sidecar.core.routing import Owner
from sidecar.service import deciding, experiments, looking, routes
from sidecar.service.experiments import Asked, ExperimentFilter
from sidecar.service.views import ExperimentView
from sidecar.store.database import transaction
from sidecar.store.events import By
from tests.configurations import judge
from tests.controlled import QUICK, SHARES, traffic

ANSWERED = {Outcome.PROMOTED, Outcome.ROLLED_BACK, Outcome.INCONCLUSIVE}
RUNNING = {Status.ACTIVE, Status.PAUSED}
MOVES = ["start", "pause", "resume", "shares", "plan", "promote", "rollback", "undo", "stop"]
ACTIONS = st.sampled_from([*MOVES, "start", "undo", "look", "look", "good", "bad", "edit"])
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 1), st.integers(0, 3)), max_size=14)
_seconds = itertools.count(1)
_names = itertools.count(1)


@dataclass
class World:
    """Two experiments that want the same group, and what is tried with them."""

    engine: AsyncEngine
    began: datetime
    ids: list[str] = field(default_factory=list)
    weight: int = 20
    seen: list[ExperimentView] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.began + timedelta(seconds=next(_seconds))

    async def create(self) -> None:
        for mode in ("auto", "advise"):
            plan = {**QUICK, "mode": mode}
            wish = Wish("judge", SHARES, {}, None, None, "default", plan)
            name = f"exp-{next(_names)}"
            async with transaction(self.engine) as tx:
                by = By("ann", self.now, "a test")
                await experiments.create(tx, wish, experiment_id=name, by=by)
            self.ids.append(name)

    async def publish(self, tx: AsyncConnection) -> dict[str, Any]:
        found = await routes.publish(tx, judge(100 - self.weight, self.weight), self.now)
        return dict(found.table.groups)

    async def step(self, action: str, which: int, size: int) -> None:
        """Try something; what is refused must leave everything as it was."""
        name = self.ids[which]
        if action in ("good", "bad"):
            await self._traffic(name, action)
            return
        asked = Asked(name, None, By("ann", self.now, "a test"))
        try:
            async with transaction(self.engine) as tx:
                await self._do(tx, action, asked, size)
        except SignalopsError:
            assert await self.every() == self.seen

    async def _do(self, tx: AsyncConnection, action: str, asked: Asked, size: int) -> None:
        canary = (0.0, 0.2, 0.5, 1.0)[size]
        if action == "look":
            await looking.look(tx, asked.experiment_id, self.now)
        elif action == "edit":
            self.weight = (0, 10, 20, 30)[size]
        elif action == "shares":
            shares = {"primary": 1 - canary, "canary": canary}
            await experiments.set_shares(tx, asked, shares)
        elif action == "plan":
            holdback = {"share": size / 20, "hours": 0}
            plan = {**QUICK, "mode": "auto", "holdback": holdback}
            await experiments.set_plan(tx, asked, plan)
        elif action == "promote":
            await deciding.promote(tx, asked, None)
        elif action == "rollback":
            await deciding.roll_back(tx, asked)
        elif action == "undo":
            await deciding.undo(tx, asked)
        else:
            await getattr(experiments, action)(tx, asked)

    async def _traffic(self, name: str, kind: str) -> None:
        async with transaction(self.engine) as tx:
            found = await experiments.get(tx, name, project_id=None)
        if found.status is Status.ACTIVE and found.epoch == 1:
            calls = {"primary": (20, 0), "canary": (20, 0 if kind == "good" else 12)}
            await traffic(self.engine, name, stage=found.stage, **calls)

    async def clear(self) -> None:
        """End what an earlier example left behind, and take the group back."""
        only = ExperimentFilter(owner=Owner.EXPERIMENT)
        async with transaction(self.engine) as tx:
            page = await experiments.page(tx, only, before=None, limit=500)
            for each in page:
                if each.status is not Status.COMPLETED:
                    asked = Asked(each.id, None, By("ann", self.now, "the test is over"))
                    await experiments.stop(tx, asked)
            self.weight = 30 + next(_names) % 60
            await self.publish(tx)

    async def every(self) -> list[ExperimentView]:
        async with transaction(self.engine) as tx:
            return [await experiments.get(tx, name, project_id=None) for name in self.ids]

    async def check(self) -> None:
        """Hold everything against the rules."""
        async with transaction(self.engine) as tx:
            groups = await self.publish(tx)
            counts = {
                name: len(
                    await experiments.audit(tx, name, project_id=None, before=None, limit=500)
                )
                for name in self.ids
            }
        found = await self.every()
        for each in found:
            check_one(each)
        assert {each.id: each.version for each in found} == counts
        check_group(groups["judge"], found)
        self.seen = found


def check_one(found: ExperimentView) -> None:
    """Hold an experiment against the rules of its life."""
    assert (found.status is Status.COMPLETED) == (found.outcome is not None)
    assert (found.status is Status.COMPLETED) == (found.ended_at is not None)
    assert found.held_arm is None or found.outcome in ANSWERED
    assert sum(round(share * BUCKETS) for share in found.shares.values()) == BUCKETS
    for earlier, later in pairwise(found.stages):
        assert (earlier.epoch, earlier.stage) < (later.epoch, later.stage)
        assert earlier.ended_at is not None
        assert earlier.started_at <= earlier.ended_at <= later.started_at
    lasts = bool(found.stages) and found.stages[-1].ended_at is None
    assert lasts == (found.status is Status.ACTIVE)
    if lasts:
        present = found.stages[-1]
        assert (present.epoch, present.stage) == (found.epoch, found.stage)
        assert present.shares == found.shares


def check_group(group: Any, found: list[ExperimentView]) -> None:
    """Hold the published routes against the experiments: exactly one of them is in charge."""
    running = [each for each in found if each.status in RUNNING]
    holding = [each for each in found if each.held_arm is not None]
    assert len(running) <= 1
    assert sum(arm.share_bp for arm in group.arms) == BUCKETS
    if running:
        assert (group.owner, group.experiment_id) == (Owner.EXPERIMENT, running[0].id)
        assert group.held_by is None
        assert group.paused == (running[0].status is Status.PAUSED)
        served = {arm.name: arm.share_bp / BUCKETS for arm in group.arms}
        assert group.paused or served == dict(running[0].shares)
    elif holding:
        assert group.held_by in {each.id for each in holding}
        assert {arm.share_bp for arm in group.arms} <= {0, BUCKETS}
    else:
        assert (group.owner, group.held_by) == (Owner.YAML, None)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_no_order_of_moves_breaks_a_rule(
    engine: AsyncEngine, steps: list[tuple[str, int, int]]
) -> None:
    world = World(engine, datetime.now(UTC))
    await world.clear()
    await world.create()
    for step in [("start", 0, 0), *steps]:
        await world.check()
        await world.step(*step)
    await world.check()
