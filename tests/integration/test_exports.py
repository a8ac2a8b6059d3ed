"""Datasets as files, over HTTP."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from httpx import Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.api.datasets import AT_ONCE, MAX_WAITING
from sidecar.core.datasets import Kind, Row, Split
from sidecar.core.formats import Format
from sidecar.service import exporting
from sidecar.store.database import transaction
from tests.apis import Sidecar, sidecar
from tests.configurations import judge
from tests.trained import keep, row, rows, with_prompt


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    async with sidecar(database_url, tmp_path, judge()) as found:
        yield found


class Exporter:
    """Stores rows as a dataset, and exports it."""

    def __init__(self, api: Sidecar, now: datetime) -> None:
        self.api, self.now = api, now

    async def __call__(
        self, kind: Kind, found: Sequence[Row], form: str, **params: str
    ) -> Response:
        name = await keep(self.api.app.state.context.engine, kind, found, self.now)
        return await self.again(form, name, **params)

    async def again(self, form: str, name: str = "ds-1", **params: str) -> Response:
        path = f"/v1/datasets/{name}/export"
        return await self.api.admin.get(path, params={"format": form, **params})


@pytest.fixture
def export(api: Sidecar, now: datetime) -> Exporter:
    return Exporter(api, now)


def lines(answer: Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    found = [json.loads(line) for line in answer.content.split(b"\n")[:-1]]
    assert answer.headers["x-signalops-rows"] == str(len(found))
    return found


async def test_a_split_leaves_in_order_and_nothing_of_another(export: Exporter) -> None:
    made = rows(Kind.DPO, 30, 12, 9)
    answer = await export(Kind.DPO, made, "trl-dpo")
    train = [json.loads(one.prompt) for one in made if one.split == Split.TRAIN]
    assert [line["prompt"] for line in lines(answer)] == train
    assert answer.headers["content-disposition"] == (
        'attachment; filename="ds-1.train.trl-dpo.jsonl"'
    )
    other = lines(await export.again("trl-dpo", split="validation"))
    assert len(other) == 12
    held = [json.loads(one.prompt) for one in made if one.split == Split.HOLDOUT]
    assert not [line for line in [*other, *lines(answer)] if line["prompt"] in held]


async def test_the_holdout_is_never_exported(export: Exporter) -> None:
    answer = await export(Kind.SFT, rows(Kind.SFT, 20, 5, 5), "parquet", split="holdout")
    assert answer.status_code == 409
    assert "the holdout is never exported" in answer.json()["detail"]


async def test_a_format_that_does_not_fit_names_those_that_do(export: Exporter) -> None:
    answer = await export(Kind.KTO, rows(Kind.KTO, 20), "openai-dpo")
    assert answer.status_code == 422
    assert "trl-kto, alpaca, sharegpt, parquet" in answer.json()["detail"]


async def test_a_provider_that_wants_more_rows_is_not_given_fewer(export: Exporter) -> None:
    answer = await export(Kind.SFT, rows(Kind.SFT, 9, 3), "openai-sft")
    assert answer.status_code == 409
    assert "has 9 rows; openai-sft needs 10 or more" in answer.json()["detail"]
    assert len(lines(await export.again("fireworks"))) == 9
    validation = await export.again("openai-sft", split="validation")
    assert len(lines(validation)) == 3


async def test_an_empty_split_is_not_a_file(export: Exporter) -> None:
    answer = await export(Kind.SFT, rows(Kind.SFT, 20), "trl-sft", split="validation")
    assert answer.status_code == 409


async def test_another_projects_dataset_is_not_there(export: Exporter, api: Sidecar) -> None:
    await export(Kind.SFT, rows(Kind.SFT, 20), "trl-sft")
    async with api.client(await api.key(project_id="other")) as other:
        answer = await other.get("/v1/datasets/ds-1/export", params={"format": "trl-sft"})
    assert answer.status_code == 404
    assert (await export.again("trl-sft", "ds-2")).status_code == 404


async def test_many_pieces_give_every_row_once(export: Exporter) -> None:
    made = rows(Kind.SFT, 4_500, 600)
    answer = await export(Kind.SFT, made, "openai-sft")
    asked = [line["messages"][1]["content"] for line in lines(answer)]
    train = [json.loads(one.prompt)[1]["content"] for one in made if one.split == Split.TRAIN]
    assert asked == train


async def test_rows_of_megabytes_come_one_by_one(export: Exporter) -> None:
    long = [{"role": "user", "content": "ä" * 3_000_000}]
    made = [with_prompt(row(Kind.SFT, number), long) for number in range(12)]
    answer = await export(Kind.SFT, made, "trl-sft")
    assert [line["messages"][0]["content"] for line in lines(answer)] == ["ä" * 3_000_000] * 12


@pytest.mark.parametrize("form", ["trl-dpo", "sharegpt", "parquet"])
async def test_a_second_export_gives_the_same_bytes(export: Exporter, form: str) -> None:
    first = await export(Kind.DPO, rows(Kind.DPO, 2_500), form)
    second = await export.again(form)
    assert first.status_code == 200
    assert first.content == second.content


async def test_a_lost_connection_between_pieces_loses_no_row(
    engine: AsyncEngine, now: datetime
) -> None:
    long = [{"role": "user", "content": "ä" * 3_000_000}]
    made = [with_prompt(row(Kind.SFT, number), long) for number in range(8)]
    name = await keep(engine, Kind.SFT, made, now)
    async with transaction(engine) as tx:
        planned = await exporting.plan(tx, name, Format.TRL_SFT, Split.TRAIN)
    found = []
    async for piece in (await exporting.export(engine, planned)).pieces:
        found.append(piece)
        async with transaction(engine) as tx:
            await tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = "
                    "'idle' AND datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
    assert b"".join(found).count(b"\n") == 8


async def test_who_stops_reading_holds_no_connection(
    engine: AsyncEngine, now: datetime
) -> None:
    name = await keep(engine, Kind.SFT, rows(Kind.SFT, 9_000), now)
    async with transaction(engine) as tx:
        planned = await exporting.plan(tx, name, Format.TRL_SFT, Split.TRAIN)
    pieces = (await exporting.export(engine, planned)).pieces
    assert await anext(pieces)
    await pieces.aclose()
    assert engine.pool.checkedout() == 0


async def test_what_a_format_cannot_say_is_refused_before_the_first_byte(
    export: Exporter,
) -> None:
    made = rows(Kind.SFT, 20)
    twice = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    made[17] = with_prompt(made[17], twice)
    answer = await export(Kind.SFT, made, "sharegpt")
    assert answer.status_code == 409
    detail = answer.json()["detail"]
    assert "row 17 does not fit sharegpt: user and assistant must take turns" in detail
    assert "trl-sft" in detail
    assert len(lines(await export.again("trl-sft"))) == 20


@pytest.mark.parametrize("kind", Kind)
async def test_a_table_has_trls_columns(export: Exporter, kind: Kind, tmp_path: Path) -> None:
    made = rows(kind, 2_100)
    answer = await export(kind, made, "parquet")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-signalops-rows"] == "2100"
    path = tmp_path / "table.parquet"
    path.write_bytes(answer.content)
    table = pl.read_parquet(path)
    assert [json.loads(one.prompt) for one in made] == table["prompt"].to_list()
    names = {Kind.SFT: ["completion"], Kind.DPO: ["chosen", "rejected"]}
    names |= {Kind.KTO: ["completion", "label"]}
    assert table.columns == ["prompt", *names[kind], "tools"]
    if kind is Kind.KTO:
        assert table["label"].to_list() == [one.is_good for one in made]
    first = table[names[kind][0]].to_list()[5]
    assert first == [{"role": "assistant", "content": json.loads(made[5].chosen)}]


async def test_many_tables_at_once_are_written_one_after_the_other(export: Exporter) -> None:
    wanted = MAX_WAITING + AT_ONCE + 6
    first = await export(Kind.KTO, rows(Kind.KTO, 30), "sharegpt")
    answers = await asyncio.gather(*(export.again("sharegpt") for _ in range(wanted)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= MAX_WAITING
    assert {answer.content for answer in answers if answer.status_code == 200} == {
        first.content
    }
    assert lines(await export.again("sharegpt"))
