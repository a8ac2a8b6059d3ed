"""`signalops preferences` against a sidecar process of its own."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.store.database import create_engine
from tests.integration.test_cli_decisions import Desk, desk
from tests.people import People

__all__ = ["desk"]


def say_things(desk: Desk, folder: Path) -> None:
    """Edit a draft, reject one, and change nothing in a third."""

    async def run() -> None:
        engine = create_engine(desk.database)
        people = People(engine, folder, datetime.now(UTC))
        texts = ["one " * 40, "two\x1b[31m", "three"]
        edited, rejected, same = await people.drafts(texts, project_id="told")
        await people.say(edited, edit="better")
        await people.say(rejected, approved=False, better="best")
        await people.say(same, edit=" three ")
        await engine.dispose()

    asyncio.run(run())


def test_pairs_are_told_in_lines_and_in_numbers(desk: Desk, tmp_path: Path) -> None:
    mine = ("--project", "told")
    assert "No pairs yet" in desk.ok("preferences", "summary", *mine)
    say_things(desk, tmp_path)
    listed = desk.ok("preferences", "list", *mine)
    assert "better" in listed
    assert "…" in listed  # a long text is cut
    assert "\x1b" not in listed
    found = json.loads(desk.ok("preferences", "list", *mine, "--json"))
    assert [item["chosen"] for item in found] == ["best", "better"]
    only = json.loads(desk.ok("preferences", "list", *mine, "--origin", "edit", "--json"))
    assert [item["chosen"] for item in only] == ["better"]
    shown = desk.ok("preferences", "summary", *mine)
    assert "2 (edit 1, rejection 1)" in shown
    assert "equal 1" in shown
    assert json.loads(desk.ok("preferences", "summary", *mine, "--json"))["superseded"] == 0


@pytest.mark.parametrize("words", [("list", "--origin", "x"), ("list", "--limit", "0"), ("x",)])
def test_what_is_typed_wrong_is_said(desk: Desk, words: tuple[str, ...]) -> None:
    desk.refused("preferences", *words)
