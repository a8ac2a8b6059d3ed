"""From calls and words to every trainer's file: the command, the API and PostgreSQL."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from sidecar.core.datasets import Kind
from sidecar.core.formats import Format, fitting
from sidecar.store.database import create_engine
from tests.apis import ADMIN_KEY
from tests.builders import post_of
from tests.databases import create_database, drop_database
from tests.drafts import draft_record, drain_records
from tests.records import judge_record
from tests.served import Command, served

DRAFTS = 40
SYSTEM = "Be kind. \u00e9 \U0001f600 \\"
PAIRS = [(kind, form) for kind in Kind for form in fitting(kind)]


def request_of(number: int) -> tuple[str, dict[str, Any]]:
    """Ask by each surface in turn."""
    said = {"role": "user", "content": post_of(number)}
    system = {"role": "system", "content": SYSTEM}
    part = {"type": "text", "text": post_of(number)}
    return (
        ("chat", {"messages": [system, said]}),
        ("messages", {"system": SYSTEM, "messages": [{**said, "content": [part]}]}),
        ("responses", {"instructions": SYSTEM, "input": post_of(number)}),
        ("chat", {"messages": [system, {**said, "content": [part]}]}),
    )[number % 4]


async def store(database: str, folder: Path) -> tuple[list[str], list[str]]:
    """Store drafts, and judges' calls."""
    engine, now = create_engine(database), datetime.now(UTC)
    drafts = []
    for number in range(DRAFTS):
        surface, request = request_of(number)
        more = {"unit_id": f"u-{number}", "surface": surface}
        request = {"model": "reply", **request}
        drafts.append(draft_record(now, f"Draft {number}.", request=request, **more))
    judged = [judge_record(now, f"j-{n}", post_of(1000 + n)) for n in range(DRAFTS)]
    try:
        return (
            await drain_records(engine, folder, drafts),
            await drain_records(engine, folder, judged),
        )
    finally:
        await engine.dispose()


def words_of(drafts: list[str], judged: list[str]) -> Iterator[dict[str, Any]]:
    for number, call_id in enumerate(drafts):
        word = {"approved": True} if number % 5 == 0 else {"edit": f"Better {number}."}
        yield {"call_id": call_id, "reviewer": "ann", **word}
    for number, call_id in enumerate(judged):
        label = "maybe" if number % 2 else "relevant"
        yield {"call_id": call_id, "reviewer": "ann", "label": label}


@pytest.fixture(scope="module")
def signalops(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    database = create_database(server_url, f"{template}_exports_chain", template)
    folder = tmp_path_factory.mktemp("chain")
    try:
        words = list(words_of(*asyncio.run(store(database, folder))))
        with served(database, folder) as command:
            headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
            answer = httpx.post(
                f"{command.url}/v1/feedback", json={"items": words}, headers=headers
            )
            assert "error" not in answer.raise_for_status().text
            yield command
    finally:
        drop_database(database)


def exported(
    signalops: Command, target: Path, kind: str, form: str, *more: str
) -> dict[str, Any]:
    words = ("--type", kind, "--format", form, "--output", str(target), *more)
    told = signalops.json("export", "training-data", *words)
    assert isinstance(told, dict)
    return told


def texts(line: Any) -> set[str]:
    """List every text of a line, however deep."""
    if isinstance(line, str):
        return {line}
    inside = line.values() if isinstance(line, dict) else line if isinstance(line, list) else ()
    return {text for each in inside for text in texts(each)}


def lines_of(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


@pytest.mark.parametrize(("kind", "form"), PAIRS)
def test_every_format_holds_each_row_with_its_question_and_its_answer(
    signalops: Command, tmp_path: Path, kind: Kind, form: Format
) -> None:
    target = tmp_path / ("train.parquet" if form is Format.PARQUET else "train.jsonl")
    told = exported(signalops, target, kind, form, "--group", "reply")
    shown = signalops.json("dataset", "show", told["dataset"])
    assert isinstance(shown, dict)
    found = lines_of(target)
    assert len(found) == told["rows"] == shown["manifest"]["rows"]["train"]
    for line in found:
        said = texts(line)
        asked = [number for number in range(DRAFTS) if post_of(number) in said]
        assert len(asked) == 1
        answers = {f"Draft {asked[0]}.", f"Better {asked[0]}."}
        assert SYSTEM in said
        given = {text for text in said if text.startswith(("Draft ", "Better "))}
        assert given <= answers
        assert len(given) == (2 if kind is Kind.DPO else 1)


def test_a_compressed_export_is_the_same_bytes_again(
    signalops: Command, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    plain = tmp_path / "c.jsonl"
    for target in (first, second, plain):
        exported(signalops, target, "dpo", "trl-dpo")
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == plain.read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_judgments_leave_with_peoples_labels(
    signalops: Command, tmp_path: Path, form: str
) -> None:
    target = tmp_path / f"judgments.{form}"
    told = exported(signalops, target, "judgments", form)
    found = lines_of(target)
    assert told["rows"] + told["held_out"] == DRAFTS
    assert {line["human_label"] for line in found} == {"maybe", "relevant"}
    assert {line["reviewers"] for line in found} == {1}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--type", "dpo", "--format", "openai-sft"), 1, "openai-sft takes sft"),
        (("--type", "dpo", "--format", "csv"), 1, "alpaca"),
        (("--type", "dpo", "--format", "trl-dpo", "--split", "holdout"), 1, "never exported"),
        (("--type", "dpo", "--format", "trl-dpo", "--split", "test"), 1, "split"),
        (("--type", "dpo", "--format", "trl-dpo", "--dataset", "ds-0"), 1, "no dataset"),
        (("--type", "dpo", "--format", "trl-dpo", "--project", "a\nb"), 1, "control"),
        (("--type", "dpo", "--format", "trl-dpo", "--project", "p"), 1, "there is no row"),
        (("--type", "judgments", "--format", "jsonl", "--since", "then"), 1, "since"),
        (("--type", "judgments", "--format", "trl-sft"), 1, "format"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence_and_no_file(
    signalops: Command, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    output = ("--output", str(tmp_path / "train.jsonl"))
    result = signalops("export", "training-data", *words, *output)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
