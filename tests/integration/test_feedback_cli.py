"""What `signalops feedback` says of drafts, and what it makes of a file."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sidecar.cli.main import app
from sidecar.store.database import create_engine
from tests.apis import ADMIN_KEY
from tests.databases import create_database, drop_database
from tests.drafts import draft_record, drain_records
from tests.served import Command, served

TEXT = "As it was."
ANN = ("--reviewer", "ann")


@pytest.fixture(scope="module")
def database(server_url: str, template: str) -> Iterator[str]:
    url = create_database(server_url, f"{template}_words", template)
    yield url
    drop_database(url)


@pytest.fixture(scope="module")
def command(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with served(database, tmp_path_factory.mktemp("words")) as found:
        yield found


def drafts(database: str, folder: Path, number: int = 1, **more: Any) -> list[str]:
    """Store answered drafters' calls, all of one prompt."""

    async def run() -> list[str]:
        engine = create_engine(database)
        now = datetime.now(UTC)
        records = [draft_record(now, TEXT, **more) for _ in range(number)]
        try:
            return await drain_records(engine, folder, records)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def history(command: Command, call_id: str) -> list[dict[str, Any]]:
    found = command.json("feedback", "list", call_id)
    assert isinstance(found, list)
    return found


def test_each_word_of_a_draft_is_said_and_listed(
    command: Command, database: str, tmp_path: Path
) -> None:
    call_id, other = drafts(database, tmp_path, 2)
    first = min(call_id, other)
    words = ("feedback", "add", call_id, *ANN)
    (tmp_path / "edit.txt").write_bytes("Grüezi\r\n".encode())
    assert "approved true" in command.ok(*words, "--approved")
    assert "edit" in command.ok(*words, "--edit", f"@{tmp_path / 'edit.txt'}")
    better = command.ok(*words, "--rejected", "--better", "@@ann, no.")
    assert "approved false, better text given" in better
    assert "better than" in command.ok(
        "feedback", "add", first, *ANN, "--over", max(call_id, other)
    )
    assert "as good as" in command.ok("feedback", "add", other, *ANN, "--tie-with", call_id)
    assert "comment" in command.ok(*words, "--comment", "hm")
    said = {item["kind"]: item for item in history(command, call_id)}
    assert (said["edit"]["text"], said["reject"]["text"]) == ("Grüezi\r\n", "@ann, no.")
    assert said["edit"]["is_current"] is False
    assert "The draft is rejected." in command.ok("feedback", "list", call_id)


def test_a_call_is_named_by_one_id_or_the_other(
    command: Command, database: str, tmp_path: Path
) -> None:
    [call_id] = drafts(database, tmp_path, response_id="chatcmpl-cli")
    words = ("--approved", *ANN, "--key", "k-cli")
    found = command.json("feedback", "add", "--response-id", "chatcmpl-cli", *words)
    assert found == command.json("feedback", "add", call_id, *words)
    for ids in ((), (call_id, "--response-id", "chatcmpl-cli")):
        assert command("feedback", "add", *ids, *words).exit_code == 2


@pytest.mark.parametrize("name", ["missing.txt", "latin.txt", "."])
def test_a_file_that_is_no_text_is_said_to_be_none(
    command: Command, tmp_path: Path, name: str
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"Gr\xfcezi")
    words = ("--edit", f"@{tmp_path / name}", *ANN)
    result = command("feedback", "add", "0190c0de-0000-7000-8000-000000000000", *words)
    assert (result.exit_code, "cannot be read" in result.stderr) == (2, True)


def test_a_file_is_kept_but_for_its_bad_lines_which_are_named(
    command: Command, database: str, tmp_path: Path
) -> None:
    first, second = drafts(database, tmp_path, 2)
    lines = [
        json.dumps({"call_id": first, "edit": "One.", "reviewer": "bob"}).encode(),
        b"",
        b"{",
        json.dumps({"call_id": first, "edit": TEXT}).encode(),
        json.dumps({"call_id": second, "edit": "a\ud800"}).encode(),
        b'{"call_id": "\xff"}',
        json.dumps({"call_id": second, "name": "score", "value": float("nan")}).encode(),
        b"17",
        json.dumps({"call_id": second, "edit": "Zwei. 🇨🇭"}, ensure_ascii=False).encode(),
    ]
    path = tmp_path / "said.jsonl"
    path.write_bytes(b"\n".join(lines))
    result = command("feedback", "import", str(path), *ANN)
    assert result.exit_code == 1
    assert "kept 2 (0 said before), refused 6" in result.stdout
    named = [line.partition(":")[0] for line in result.stderr.splitlines() if "line " in line]
    assert named == [f"line {number}" for number in (3, 4, 5, 6, 7, 8)]
    assert [item["reviewer"] for item in history(command, first)] == ["bob"]
    [said] = history(command, second)
    assert (said["reviewer"], said["text"]) == ("ann", "Zwei. 🇨🇭")
    again = command("feedback", "import", str(path), *ANN, "--json")
    found = json.loads(again.stdout)
    assert (again.exit_code, found["kept"], found["new"]) == (1, 2, 0)
    assert [refused["line"] for refused in found["refused"]] == [3, 4, 5, 6, 7, 8]
    assert all(refused["problem"]["status"] == 422 for refused in found["refused"])


def test_a_long_file_goes_in_several_batches(
    command: Command, database: str, tmp_path: Path
) -> None:
    [call_id] = drafts(database, tmp_path)
    lines = [
        json.dumps({"call_id": call_id, "name": f"score-{number}", "value": number})
        for number in range(1201)
    ]
    large = [
        json.dumps({"call_id": call_id, "reviewer": f"r-{number}", "edit": "x" * 900_000})
        for number in range(10)
    ]
    text = "\n".join([*lines[:600], *large, '{"call_id": "call-1"}', *lines[600:]])
    variables = {"SIGNALOPS_URL": command.url, "SIGNALOPS_ADMIN_KEY": ADMIN_KEY}
    words = ["feedback", "import", "-", *ANN, "--json"]
    result = CliRunner().invoke(app, words, env=variables, input=text.encode())
    found = json.loads(result.stdout)
    assert (result.exit_code, found["kept"], found["new"]) == (1, 1211, 1211)
    assert [refused["line"] for refused in found["refused"]] == [611]


def test_a_file_that_says_nothing_or_is_not_there_loses_nothing(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    assert "kept 0" in command.ok("feedback", "import", str(tmp_path / "empty.jsonl"), *ANN)
    assert command("feedback", "import", str(tmp_path / "none.jsonl")).exit_code == 2
