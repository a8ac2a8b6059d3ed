"""What do the API and the command say of pairs?"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.people import People

PATH = "/v1/preferences"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


@pytest.fixture
def people(api: Sidecar, tmp_path: Path, now: datetime) -> People:
    return People(api.app.state.context.engine, tmp_path, now)


async def ask(api: Sidecar, path: str = PATH, **params: Any) -> Any:
    return (await api.admin.get(path, params=params)).raise_for_status().json()


async def test_pairs_are_listed_page_by_page_newest_first(api: Sidecar, people: People) -> None:
    for call_id in await people.drafts(["one", "two", "three"]):
        await people.say(call_id, edit="better")
    first = await ask(api, limit=2)
    assert [item["rejected"] for item in first["items"]] == ["three", "two"]
    second = await ask(api, limit=2, after=first["next"])
    assert [item["rejected"] for item in second["items"]] == ["one"]
    assert second["next"] is None
    assert (await ask(api, limit=3))["next"] is None


async def test_a_pair_says_who_stands_for_it(api: Sidecar, people: People) -> None:
    [call_id] = await people.drafts(["one"])
    for reviewer, better in (("ann", "better"), ("bob", "better"), ("ann", "best")):
        await people.say(call_id, reviewer, edit=better)
    best, better = (await ask(api))["items"]
    assert (best["votes"], best["is_current"]) == ({"for_it": 1, "against": 0}, True)
    assert [(g["reviewer"], g["is_current"]) for g in better["grounds"]] == [
        ("ann", False),
        ("bob", True),
    ]


async def test_pairs_are_filtered(api: Sidecar, people: People) -> None:
    [one] = await people.drafts(["one"])
    [two] = await people.drafts(["two"], group="other")
    await people.say(one, edit="better")
    await people.say(two, pair=("yes", "no"))
    await people.say(one, edit="best")
    for params, texts in (
        ({"group": "other"}, ["yes"]),
        ({"origin": "edit"}, ["best", "better"]),
        ({"origin": "edit", "is_current": "true"}, ["best"]),
        ({"is_current": "false"}, ["better"]),
        ({"project_id": "nobodys"}, []),
    ):
        found = await ask(api, **params)
        assert [item["chosen"] for item in found["items"]] == texts


async def test_half_of_a_surrogate_pair_arrives_as_it_is(api: Sidecar, people: People) -> None:
    await people.say(await people.draft("a\x00b\ud800"), edit="better")
    answer = await api.admin.get(PATH)
    assert json.loads(answer.content)["items"][0]["rejected"] == "a\x00b\ud800"


async def test_a_key_sees_its_own_projects_pairs_only(api: Sidecar, people: People) -> None:
    await people.say(await people.draft(), edit="better")
    await people.say(await people.draft("mine", project_id="tests"), edit="better")
    async with api.client(await api.key()) as client:
        found = (await client.get(PATH)).raise_for_status().json()
        assert [item["rejected"] for item in found["items"]] == ["mine"]
        summary = (await client.get(f"{PATH}/summary")).raise_for_status().json()
        assert summary["pairs"] == {"edit": 1}
        foreign = await client.get(PATH, params={"project_id": "default"})
        assert foreign.status_code == 403
    async with api.client(await api.key(scopes=["infer"])) as client:
        assert (await client.get(PATH)).status_code == 403


@pytest.mark.parametrize(
    "params", [{"after": "x"}, {"after": "0"}, {"after": str(2**63)}, {"origin": "x"}]
)
async def test_what_cannot_be_asked_is_refused(api: Sidecar, params: dict[str, str]) -> None:
    assert (await api.admin.get(PATH, params=params)).status_code == 422


async def test_the_summary_of_nothing_is_all_zeros(api: Sidecar) -> None:
    assert await ask(api, f"{PATH}/summary") == {
        "pairs": {},
        "superseded": 0,
        "unpaired": 0,
        "ties": 0,
        "conflicts": 0,
        "refused": {},
    }
