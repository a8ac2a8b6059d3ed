"""How routes reach the proxy: a file that is old or new, never half."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.assignment import ranges
from sidecar.core.errors import Invalid
from sidecar.core.routing import Arm, Caller, Group, Owner, RoutingTable, Task, UnitSource
from sidecar.handoff.routes import (
    FILE_NAME,
    RoutesReader,
    content_hash,
    from_document,
    to_document,
    write_routes,
)
from tests.configurations import NOON

SHARES = {"primary": 7_000, "canary": 3_000}
ARMS = (Arm("primary", 7_000, ("p1", "p2")), Arm("canary", 3_000, ("c",)))
JUDGE = Group(
    "judge",
    Task.JUDGE,
    ARMS,
    ranges(SHARES),
    labels=("yes", "no"),
    owner=Owner.EXPERIMENT,
    experiment_id="exp-1",
    salt="salt",
    epoch=2,
    stage=3,
    paused=True,
    unit=UnitSource.USER,
)
SOLO = Group("solo", Task.OTHER, (Arm("primary", 10_000, ()),), ranges({"primary": 10_000}))
CALLER = Caller("k", "p", frozenset({"infer", "read"}), frozenset({"judge"}), NOON)
TABLE = RoutingTable(
    7,
    "hash",
    {"judge": JUDGE, "solo": SOLO},
    {"alias": "judge"},
    {"c": {"model_name": "judge", "litellm_params": {"model": "é\x00", "weight": 0.5}}},
    {"digest": CALLER, "other": replace(CALLER, expires_at=None)},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "handoff" / FILE_NAME


def test_a_table_comes_back_as_it_was_written(path: Path) -> None:
    write_routes(path, TABLE)
    assert RoutesReader(path).poll() == TABLE


def test_a_table_is_read_once_for_each_time_it_was_written(path: Path) -> None:
    reader = RoutesReader(path)
    assert reader.poll() is None
    for generation in (1, 2):
        write_routes(path, replace(TABLE, generation=generation))
        found = reader.poll()
        assert found is not None
        assert found.generation == generation
        assert reader.poll() is None


def test_a_file_that_vanishes_and_returns_is_read_again(path: Path) -> None:
    reader = RoutesReader(path)
    write_routes(path, TABLE)
    assert reader.poll() == TABLE
    path.rename(path.with_name("away"))
    assert reader.poll() is None
    write_routes(path, replace(TABLE, generation=8))
    assert reader.poll() == replace(TABLE, generation=8)


def test_nothing_but_the_file_is_left_and_only_its_owner_may_read_it(path: Path) -> None:
    for _ in range(3):
        write_routes(path, TABLE)
    assert list(path.parent.iterdir()) == [path]
    modes = [stat.S_IMODE(found.stat().st_mode) for found in (path, path.parent)]
    assert modes == [0o600, 0o700]


def test_who_has_the_old_file_open_reads_the_old_table_to_its_end(path: Path) -> None:
    write_routes(path, TABLE)
    with path.open("rb") as open_before:
        write_routes(path, replace(TABLE, generation=8))
        assert from_document(open_before.read()).generation == 7


def test_a_write_that_fails_leaves_the_last_good_file(path: Path) -> None:
    write_routes(path, TABLE)
    unwritable = replace(TABLE, generation=8, entries={"c": {"params": object()}})
    with pytest.raises(TypeError):
        write_routes(path, unwritable)
    assert RoutesReader(path).poll() == TABLE
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_in_the_way_is_an_error_of_the_disk(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_routes(path, TABLE)
    assert list(path.parent.iterdir()) == [path]


def good() -> dict[str, Any]:
    return json.loads(json.dumps(to_document(TABLE)))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in good().items() if name != key}


def with_group(**changes: Any) -> dict[str, Any]:
    document = good()
    document["groups"]["judge"] |= changes
    return document


BROKEN = {
    "empty": "",
    "cut short": json.dumps(good())[:-40],
    "no object": "[]",
    "null": "null",
    "no UTF-8": b"\xff\xfe",
    "another form": json.dumps({**good(), "form": 2}),
    "no groups": json.dumps(without("groups")),
    "no generation": json.dumps(without("generation")),
    "an unknown task": json.dumps(with_group(task="guess")),
    "an unknown owner": json.dumps(with_group(owner="me")),
    "an unknown source of units": json.dumps(with_group(unit="dice")),
    "arms that are none": json.dumps(with_group(arms=[1])),
    "a list of groups": json.dumps({**good(), "groups": []}),
    "a key that ends at no time": json.dumps(
        {**good(), "keys": {"d": {**good()["keys"]["digest"], "expires_at": "soon"}}}
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_table_is_said_once_and_the_next_good_one_is_read(
    path: Path, text: str | bytes
) -> None:
    reader = RoutesReader(path)
    write_routes(path, TABLE)
    reader.poll()
    hidden = path.with_name("hidden")
    hidden.write_bytes(text if isinstance(text, bytes) else text.encode())
    hidden.replace(path)
    with pytest.raises(Invalid):
        reader.poll()
    assert reader.poll() is None
    write_routes(path, replace(TABLE, generation=8))
    assert reader.poll() == replace(TABLE, generation=8)


def test_the_hash_is_of_the_content_and_not_of_its_number() -> None:
    assert content_hash(replace(TABLE, generation=9, hash="x")) == content_hash(TABLE)
    reordered = replace(TABLE, groups=dict(reversed(TABLE.groups.items())))
    assert content_hash(reordered) == content_hash(TABLE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TABLE, aliases={}),
        replace(TABLE, keys={}),
        replace(TABLE, entries={}),
        replace(TABLE, groups={"judge": replace(JUDGE, paused=False), "solo": SOLO}),
        replace(TABLE, groups={"judge": replace(JUDGE, stage=4), "solo": SOLO}),
        replace(
            TABLE,
            keys={**TABLE.keys, "digest": replace(CALLER, expires_at=NOON + timedelta(1))},
        ),
    ],
    ids=["aliases", "keys", "entries", "a pause", "a stage", "an expiry"],
)
def test_any_change_of_the_content_changes_the_hash(changed: RoutingTable) -> None:
    assert content_hash(changed) != content_hash(TABLE)


def test_no_key_but_its_digest_is_in_the_file(path: Path) -> None:
    write_routes(path, TABLE)
    assert set(json.loads(path.read_text())["keys"]) == {"digest", "other"}
