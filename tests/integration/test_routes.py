"""Which routes are in force, what is kept of them, and why a unit gets its arm."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.errors import Invalid
from sidecar.core.routing import RoutingTable
from sidecar.handoff.gauges import Gauges
from sidecar.handoff.routes import from_document
from sidecar.service.routes import NothingPublished, publish
from sidecar.store import events, generations
from sidecar.store.database import transaction
from sidecar.store.events import By
from tests.apis import Sidecar, sidecar
from tests.configurations import FINE_TUNED, NOON, config, entry, judge


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


def written(found: Sidecar) -> RoutingTable:
    return from_document((found.volume / "routes.json").read_bytes())


def shares(routes: dict[str, Any], group: str = "judge") -> list[float]:
    return [arm["share"] for arm in routes["groups"][group]["arms"]]


async def test_a_generation_is_made_only_when_it_says_something_new(
    engine: AsyncEngine,
) -> None:
    made = []
    for values in (judge(), judge(), judge(8, 2), judge(50, 50), judge(50, 50)):
        async with transaction(engine) as tx:
            done = await publish(tx, values, NOON)
        made.append((done.table.generation, done.is_new))
    # Other weights of the same shares are published: within an arm they may matter.
    assert made == [(1, True), (1, False), (2, True), (3, True), (3, False)]


async def test_publishers_at_the_same_time_agree(engine: AsyncEngine) -> None:
    async def once() -> RoutingTable:
        async with transaction(engine) as tx:
            return (await publish(tx, judge(), NOON)).table

    tables = await asyncio.gather(*(once() for _ in range(6)))
    assert {table.generation for table in tables} == {1}


async def test_what_cannot_be_routed_leaves_no_trace(engine: AsyncEngine) -> None:
    async with transaction(engine) as tx:
        before = (await publish(tx, judge(), NOON)).table
    bad = judge()
    bad["model_list"][0]["litellm_params"]["weight"] = -1
    with pytest.raises(Invalid, match="weight"):
        async with transaction(engine) as tx:
            await publish(tx, bad, NOON)
    async with transaction(engine) as tx:
        found = await generations.latest(tx)
    assert found is not None
    assert (found.table.generation, found.table.hash) == (1, before.hash)


async def test_no_key_of_the_yaml_reaches_the_database(engine: AsyncEngine) -> None:
    values = judge()
    values["model_list"][0]["litellm_params"]["api_key"] = "sk-very-secret"
    values["general_settings"] = {"master_key": "sk-master"}
    values["router_settings"] = {
        "redis_password": "sk-redis",
        "model_group_alias": {"j": "judge"},
    }
    async with transaction(engine) as tx:
        await publish(tx, values, NOON)
        dump = (
            await tx.execute(text("SELECT routes::text || config::text FROM generations"))
        ).one()
    assert "sk-" not in str(dump)
    async with transaction(engine) as tx:
        again = await publish(tx, None, NOON)
    assert not again.is_new, "what was kept says the same as the YAML"
    assert again.table.aliases == {"j": "judge"}


async def test_without_a_yaml_and_without_a_past_there_is_nothing(engine: AsyncEngine) -> None:
    with pytest.raises(NothingPublished):
        async with transaction(engine) as tx:
            await publish(tx, None, NOON)


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events"])
async def test_the_audit_cannot_be_changed(engine: AsyncEngine, statement: str) -> None:
    async with transaction(engine) as tx:
        await events.add(tx, "experiment:x", "created", By("admin", NOON), {})
    with pytest.raises(DBAPIError, match="only be added"):
        async with transaction(engine) as tx:
            await tx.execute(text(statement))


async def test_each_workers_generation_and_life_are_shown(api: Sidecar) -> None:
    folder = api.volume / "workers"
    worker = Gauges(folder, writer="w-1", pid=7, started_ns=10**18)
    worker.set("generation", 1)
    (shown,) = (await api.routes())["workers"]
    assert (shown["writer"], shown["pid"], shown["alive"]) == ("w-1", 7, True)
    assert (shown["generation"], shown["is_current"]) == (1, True)
    await api.key()
    (shown,) = (await api.routes())["workers"]
    assert not shown["is_current"]


async def test_a_key_for_some_models_is_shown_only_these(api: Sidecar) -> None:
    key = await api.key(models=["draft"])
    async with api.client(key) as client:
        found = (await client.get("/v1/routes")).json()
        assert [group["name"] for group in found["groups"]] == ["draft"]
        params = {"group": "judge", "unit": "u"}
        assert (await client.get("/v1/routes/explain", params=params)).status_code == 403


@pytest.mark.parametrize("unit", ["u-1", "a\x00b", "x" * 10_000, "ü", "0"])
async def test_an_arm_is_explained_for_any_unit(api: Sidecar, unit: str) -> None:
    params = {"group": "judge", "unit": unit}
    found = (await api.admin.get("/v1/routes/explain", params=params)).raise_for_status().json()
    ranges = found["buckets"]
    assert any(start <= found["bucket"] < end for start, end in ranges)
    assert str(found["bucket"]) in found["why"]


async def test_explaining_an_unknown_group_lists_those_there_are(api: Sidecar) -> None:
    params = {"group": "jugde", "unit": "u"}
    answer = await api.admin.get("/v1/routes/explain", params=params)
    assert answer.status_code == 404
    assert "'judge'" in answer.json()["detail"]


async def test_a_group_with_one_arm_draws_nothing(api: Sidecar) -> None:
    params = {"group": "draft", "unit": "u"}
    found = (await api.admin.get("/v1/routes/explain", params=params)).json()
    assert (found["arm"], found["bucket"], found["share"]) == ("primary", None, 1.0)


async def test_a_literal_key_is_warned_of(database_url: str, tmp_path: Path) -> None:
    values = config(entry("a", "a-1", params={"api_key": "sk-secret"}))
    async with sidecar(database_url, tmp_path, values) as found:
        (warning,) = (await found.routes())["warnings"]
        assert "'a-1' has a literal key" in warning
        assert "sk-secret" not in (found.volume / "routes.json").read_text()


async def test_an_alias_and_a_direct_ft_id_are_published(
    database_url: str, tmp_path: Path
) -> None:
    values = config(
        entry("judge", "a", model=f"openai/{FINE_TUNED}"),
        router_settings={"model_group_alias": {"j": {"model": "judge", "hidden": True}}},
    )
    async with sidecar(database_url, tmp_path, values) as found:
        routes = await found.routes()
        assert routes["aliases"] == {"j": "judge"}
        assert sorted(routes["groups"]) == [FINE_TUNED, "judge"]


async def test_an_expired_key_is_no_longer_published(engine: AsyncEngine) -> None:
    later = datetime(2099, 1, 1, tzinfo=UTC)
    async with transaction(engine) as tx:
        await tx.execute(
            text(
                "INSERT INTO keys (id, digest, project_id, scopes, models, created_at, "
                "created_by, expires_at) "
                "VALUES ('k', 'd', 'p', '{infer}', '{}', :now, 'admin', :until)"
            ),
            {"now": NOON, "until": datetime(2026, 6, 1, tzinfo=UTC)},
        )
        assert "d" in (await publish(tx, judge(), NOON)).table.keys
        assert "d" not in (await publish(tx, judge(), later)).table.keys
