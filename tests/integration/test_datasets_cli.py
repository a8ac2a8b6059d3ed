"""`signalops dataset` against a sidecar process of its own."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from sidecar.store.database import create_engine
from tests.apis import ADMIN_KEY
from tests.builders import post_of
from tests.databases import create_database, drop_database
from tests.drafts import draft_record, drain_records
from tests.served import Command, served

DRAFTS = 30


@pytest.fixture(scope="module")
def signalops(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    database = create_database(server_url, f"{template}_dataset_cli", template)
    folder = tmp_path_factory.mktemp("cli")

    async def store() -> list[str]:
        engine = create_engine(database)
        now = datetime.now(UTC)
        records = [
            draft_record(now, f"Draft {n}.", post_of(n), unit_id=f"u-{n}")
            for n in range(DRAFTS)
        ]
        try:
            return await drain_records(engine, folder, records)
        finally:
            await engine.dispose()

    try:
        calls = asyncio.run(store())
        with served(database, folder) as command:
            words = [
                {"call_id": call_id, "edit": f"Better {n}, T-{n}.", "reviewer": "ann"}
                for n, call_id in enumerate(calls)
            ]
            headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
            url = f"{command.url}/v1/feedback"
            httpx.post(url, json={"items": words}, headers=headers).raise_for_status()
            yield command
    finally:
        drop_database(database)


def test_a_dataset_is_built_listed_shown_and_verified(signalops: Command) -> None:
    made = signalops.ok(
        "dataset", "build", "dpo", "--holdout", "0", "--pattern", r"ticket=T-\d+"
    )
    name = made.split()[1]
    assert name.startswith("ds-")
    assert f"ticket {DRAFTS}" in made
    assert "edit 30" in made
    assert name in signalops.ok("dataset", "list")
    assert name in signalops.ok("dataset", "show", name)
    assert "is intact: 30 rows; 30 of 30 calls" in signalops.ok("dataset", "verify", name)


def test_the_same_dataset_is_found_again(signalops: Command) -> None:
    words = ("dataset", "build", "kto", "--seed", "s", "--price", "3")
    first, second = signalops.json(*words), signalops.json(*words)
    assert isinstance(first, dict)
    assert first == second
    assert first["manifest"]["cost_usd"] > 0
    shown = signalops.json("dataset", "show", first["id"])
    assert shown == first


def test_too_little_is_refused_with_what_was_found(signalops: Command) -> None:
    result = signalops("dataset", "build", "sft", "--min-rows", "500")
    assert result.exit_code == 1
    assert "500 are needed" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--keep", "names"), "--keep may be handles"),
        (("--pattern", "x"), "--pattern must be NAME=REGEX"),
        (("--min-score", "x"), "--min-score must be NAME=VALUE"),
    ],
)
def test_what_is_typed_wrong_is_said(
    signalops: Command, words: tuple[str, ...], said: str
) -> None:
    result = signalops("dataset", "build", "dpo", *words)
    assert result.exit_code == 2
    assert said in result.output
