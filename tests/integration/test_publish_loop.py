"""The publish loop: from an edit of the YAML, or a change by the API, to `routes.json`."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.core.errors import Invalid
from sidecar.core.routing import RoutingTable
from sidecar.handoff.routes import from_document
from tests.apis import Sidecar, sidecar, until
from tests.configurations import config, entry, judge


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


def written(found: Sidecar) -> RoutingTable:
    return from_document((found.volume / "routes.json").read_bytes())


def shares(routes: dict[str, Any], group: str = "judge") -> list[float]:
    return [arm["share"] for arm in routes["groups"][group]["arms"]]


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
