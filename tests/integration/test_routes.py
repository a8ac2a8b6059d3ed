"""From an edit of the YAML, or a change by the API, to `routes.json`."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
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
from tests.apis import Sidecar, sidecar, until
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


async def test_an_edit_is_published_with_its_generation(api: Sidecar) -> None:
    assert shares(await api.routes()) == [0.8, 0.2]
    api.write(judge(50, 50))
    found = await api.when(lambda routes: shares(routes) == [0.5, 0.5])
    table = written(api)
    assert (found["generation"], found["hash"]) == (table.generation, table.hash)
    assert found["groups"]["judge"]["stage"] == 2
    assert "sk-" not in (api.volume / "routes.json").read_text()


async def test_a_deployment_that_appears_and_vanishes_is_published(api: Sidecar) -> None:
    api.write(config(*judge()["model_list"], entry("new", "new-a")))
    await api.when(lambda routes: "new" in routes["groups"])
    assert "new-a" in written(api).entries
    api.write(judge())
    await api.when(lambda routes: "new" not in routes["groups"])
    assert "new-a" not in written(api).entries


@pytest.mark.parametrize(
    ("values", "says"),
    [
        pytest.param("model_list: [", "no YAML", id="no YAML"),
        pytest.param("", "found nothing", id="empty"),
        pytest.param({"model_list": []}, "at least one deployment", id="no deployment"),
        pytest.param(judge(-1, 1), "weight", id="a negative weight"),
        pytest.param(judge(0, 0), "only weights of 0", id="only weights of 0"),
        pytest.param(
            config(entry("a", "same"), entry("b", "same")), "unique", id="an id twice"
        ),
        pytest.param(config(entry("a", "a", arm="b c")), "plain name", id="an odd arm"),
        pytest.param(config(entry("a", "a", task="x")), "task", id="an unknown task"),
        pytest.param(
            config(entry("a", "a", task="judge", labels=[])),
            "at least one label",
            id="no label",
        ),
        pytest.param(config(entry("a", "a", note=float("nan"))), "finite", id="no number"),
        pytest.param(config(entry("a", "a\x00b")), "NUL", id="a NUL"),
        pytest.param("a: &x [*x]\nmodel_list: *x", "model_list", id="without an end"),
    ],
)
async def test_an_invalid_yaml_changes_nothing_and_is_reported(
    api: Sidecar, values: dict[str, Any] | str, says: str
) -> None:
    before = written(api)
    api.write(values)
    found = await api.when(lambda routes: routes["config_error"])
    assert says in found["config_error"]
    assert found["generation"] == before.generation
    assert written(api) == before
    ready = await api.admin.get("/health/ready")
    assert (ready.status_code, ready.json()["config_error"]) == (200, found["config_error"])
    key = await api.key()
    assert len(written(api).keys) == 1, "a key does not wait for the YAML"
    api.write(judge(70, 30))
    await api.when(lambda routes: shares(routes) == [0.7, 0.3] and not routes["config_error"])
    assert key


async def test_a_yaml_written_in_two_halves_is_taken_whole(api: Sidecar) -> None:
    whole = yaml.safe_dump(config(*judge(10, 90)["model_list"], entry("last", "last-a")))
    middle = len(whole) // 2
    with api.config.open("w") as file:
        file.write(whole[:middle])
        file.flush()
        await asyncio.sleep(0.3)  # longer than the watcher waits for a file to stand still
        file.write(whole[middle:])
    found = await api.when(lambda routes: "last" in routes["groups"])
    assert (shares(found), found["config_error"]) == ([0.1, 0.9], None)


async def test_an_included_file_is_watched(api: Sidecar, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(config(entry("extra", "extra-a"))))
    api.write({**judge(), "include": ["more.yaml"]})
    await api.when(lambda routes: "extra" in routes["groups"])
    more.write_text(yaml.safe_dump(config(entry("other", "other-a"))))
    await api.when(lambda routes: "other" in routes["groups"])
    more.unlink()
    found = await api.when(lambda routes: routes["config_error"])
    assert "more.yaml cannot be read" in found["config_error"]


async def test_a_yaml_that_lacks_what_an_experiment_uses_waits_for_its_end(
    api: Sidecar,
) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    values = judge()
    del values["model_list"][1]
    api.write(values)
    found = await api.when(lambda routes: routes["config_error"])
    assert made["id"] in found["config_error"]
    assert shares(found) == [0.5, 0.5]
    await api.do(made["id"], "stop")
    found = await api.when(lambda routes: not routes["config_error"])
    assert shares(found) == [1.0]


async def test_a_yaml_edit_waits_visibly_while_an_experiment_owns_the_group(
    api: Sidecar,
) -> None:
    made = await api.experiment()
    await api.do(made["id"], "start")
    assert (await api.routes())["groups"]["judge"]["yaml_waiting"] is None
    api.write(judge(30, 70))
    found = await api.when(lambda routes: routes["groups"]["judge"]["yaml_waiting"])
    assert found["groups"]["judge"]["yaml_waiting"] == {
        "shares": {"primary": 0.3, "canary": 0.7}
    }
    assert shares(found) == [0.5, 0.5]
    await api.do(made["id"], "stop")
    found = await api.when(lambda routes: shares(routes) == [0.3, 0.7])
    assert found["groups"]["judge"]["yaml_waiting"] is None


async def test_a_restart_with_an_invalid_yaml_goes_on_by_the_last_good_one(
    database_url: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    async with sidecar(database_url, first, judge()) as found:
        made = await found.experiment()
    async with sidecar(database_url, second, "model_list: [") as found:
        await until((found.volume / "routes.json").exists)
        assert "no YAML" in (await found.routes())["config_error"]
        await found.do(made["id"], "start")
        assert shares(await found.routes()) == [0.5, 0.5]
        assert written(found).groups["judge"].experiment_id == made["id"]


async def test_a_first_start_with_an_invalid_yaml_says_so_and_waits_for_an_edit(
    database_url: str, tmp_path: Path
) -> None:
    async with sidecar(database_url, tmp_path, "model_list: [") as found:
        routes = await found.routes()
        assert (routes["generation"], routes["groups"]) == (0, {})
        assert "no YAML" in routes["config_error"]
        body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.5}}
        refused = await found.admin.post("/v1/experiments", json=body)
        assert refused.status_code == 503
        found.write(judge())
        await found.when(lambda routes: routes["generation"] == 1)


@pytest.mark.parametrize("damage", ["gone", "broken", "older"])
async def test_a_lost_routes_file_is_written_again(api: Sidecar, damage: str) -> None:
    path = api.volume / "routes.json"
    before = written(api)
    if damage == "gone":
        path.unlink()
    elif damage == "broken":
        path.write_text("{")
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "generation": 0}))

    def is_back() -> bool:
        try:
            return written(api) == before
        except (FileNotFoundError, Invalid):
            return False

    await until(is_back)


async def test_a_change_through_another_sidecar_is_published_here(
    api: Sidecar, database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "admin"
    folder.mkdir()
    async with sidecar(database_url, folder, judge(), roles="admin") as elsewhere:
        await elsewhere.key()
        await until(lambda: len(written(api).keys) == 1)
        assert not (elsewhere.volume / "routes.json").exists()


async def test_a_change_is_out_when_it_is_answered(api: Sidecar) -> None:
    for count in range(1, 6):
        await api.key()
        assert len(written(api).keys) == count


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
