"""`signalops review` against a sidecar process of its own, by lines and by single keys."""

import asyncio
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from sidecar.cli.main import app
from sidecar.store.database import create_engine, transaction
from tests.apis import ADMIN_KEY
from tests.drafts import draft_record as record
from tests.drafts import drain_records
from tests.integration.test_cli_decisions import Desk, desk
from tests.measured import Made, store

__all__ = ["desk"]

PATIENCE_S = 30.0
HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture(autouse=True)
def nothing_waits(desk: Desk) -> Iterator[None]:
    """Leave nothing for the next test."""
    yield
    desk.sql("DELETE FROM review_locks")
    desk.sql("DELETE FROM review_skips")
    desk.sql("DELETE FROM calls")


def on_database(desk: Desk, work: Callable[..., Any]) -> Any:
    async def run() -> Any:
        engine = create_engine(desk.database)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def drawn(desk: Desk, number: int = 1) -> list[str]:
    """Store drawn calls of a running experiment."""
    answer = httpx.get(f"{desk.command.url}/v1/experiments", headers=HEADERS)
    known = [each["id"] for each in answer.json()["items"] if each["group"] == "judge"]
    calls = [Made(experiment_id=known[0]) for _ in range(number)]

    async def work(engine: Any) -> None:
        async with transaction(engine) as tx:
            await store(tx, calls)

    on_database(desk, work)
    return [call.call_id for call in calls]


def draft(desk: Desk, tmp_path: Path, written: str, post: str = "a post") -> str:
    records = [record(datetime.now(UTC), written, post)]
    return str(on_database(desk, lambda engine: drain_records(engine, tmp_path, records))[0])


def review(desk: Desk, *lines: str, **environment: str | None) -> Result:
    """Review with these lines typed; a session that they do not end ends with them."""
    variables = {
        "SIGNALOPS_URL": desk.command.url,
        "SIGNALOPS_ADMIN_KEY": ADMIN_KEY,
        "EDITOR": None,
        "VISUAL": None,
        **environment,
    }
    typed = "".join(f"{line}\n" for line in lines)
    result = CliRunner().invoke(app, ["review", "--reviewer", "ann"], typed, env=variables)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def words(desk: Desk, call_id: str) -> list[tuple[Any, ...]]:
    """What was said of a call."""
    found = httpx.get(
        f"{desk.command.url}/v1/feedback", headers=HEADERS, params={"call_id": call_id}
    ).json()
    return [(each["kind"], each["label"], each["text"]) for each in found["items"]]


def test_review_explains_itself(desk: Desk) -> None:
    assert "Which arm or model answered is not shown" in desk.ok("review", "--help")
    desk.refused("review", "--nonsense")
    found = desk.command("review", SIGNALOPS_REVIEWER=None, USER=None)
    assert (found.exit_code, "reviewer" in found.stderr) == (2, True)
    assert desk.refused("review", "--reviewer", "ann", "--kind", "rumour").exit_code == 1


def test_a_session_goes_through_what_waits_and_says_how_far_it_is(
    desk: Desk, tmp_path: Path
) -> None:
    first, second = drawn(desk, 2)
    written = draft(desk, tmp_path, "Th\u00e4nk \x1b[31myou.", "a p\u00f6st")
    found = review(desk, "nonsense", "m", "1", "a")
    assert found.exit_code == 0, found.output
    assert [words(desk, call) for call in (first, second, written)] == [
        [("label", "maybe", None)],
        [("label", "relevant", None)],
        [("approve", None, None)],
    ]
    for expected in (
        "1/r relevant  2/i irrelevant  3/m maybe  s skip  q quit",
        "'nonsense' is none of these keys",
        "a approve  e edit  r reject  s skip  q quit",
        "[0 done; waiting besides: 1 audit, 1 draft]",
        "[2 done; waiting besides: 0 audit, 0 draft]",
        "a p\u00f6st",
        "Th\u00e4nk",
        "Nothing waits for a review.",
        "3 done.",
    ):
        assert expected in found.stdout
    assert "\x1b[31m" not in found.stdout
    for telling in ("primary", "judge-a", "reply-a", "drafter-1"):
        assert telling not in found.stdout


def test_a_draft_is_edited_by_typing_it_anew_or_in_the_editor(
    desk: Desk, tmp_path: Path
) -> None:
    typed = draft(desk, tmp_path, "worse")
    found = review(desk, "e", "worse", "e", "", "e", "better")
    assert found.stdout.count("Nothing was changed") == 2
    assert words(desk, typed) == [("edit", None, "better")]
    edited = draft(desk, tmp_path, "two\nlines")
    # The file's times are those of its making, to the second at worst; an editor takes longer.
    editor = "sed -i s/two/good/"
    assert review(desk, "e", EDITOR=editor).exit_code == 0
    assert words(desk, edited) == [("edit", None, "good\nlines")]


def test_a_draft_is_rejected_with_or_without_a_better_text(desk: Desk, tmp_path: Path) -> None:
    first, second = draft(desk, tmp_path, "bad"), draft(desk, tmp_path, "worse")
    review(desk, "reject", "better", "r", "")
    assert words(desk, second) == [("reject", None, "better")]
    assert words(desk, first) == [("reject", None, None)]


def test_what_was_skipped_is_not_shown_again_and_leaving_loses_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    draft(desk, tmp_path, "hard")
    [call] = drawn(desk)
    found = review(desk, "q")
    assert (found.exit_code, "0 done." in found.stdout) == (0, True)
    found = review(desk, "i", "s")
    assert "1 done, 1 skipped." in found.stdout
    assert words(desk, call) == [("label", "irrelevant", None)]
    assert "Nothing waits" in review(desk).stdout


def test_an_answer_that_comes_too_late_is_told_and_the_next_call_comes(
    desk: Desk, tmp_path: Path
) -> None:
    older, newer = draft(desk, tmp_path, "one"), draft(desk, tmp_path, "two")
    steal = f"{sys.executable} {tmp_path / 'editor.py'}"
    (tmp_path / "editor.py").write_text(STEALING.format(database=desk.database))
    found = review(desk, "e", "a", EDITOR=steal)
    assert "bob" in found.stderr
    assert "1 done, 1 refused." in found.stdout
    assert words(desk, newer) == []
    assert words(desk, older) == [("approve", None, None)]


def test_a_sidecar_that_is_gone_ends_the_session(desk: Desk) -> None:
    found = review(desk, "a", SIGNALOPS_URL="http://127.0.0.1:9")
    assert (found.exit_code, "no answer" in found.stderr) == (3, True)


# An editor during which somebody else is handed the call.
STEALING = """
import asyncio, pathlib, sys
import asyncpg

async def steal():
    connection = await asyncpg.connect({database!r})
    await connection.execute("UPDATE review_locks SET reviewer = 'bob'")
    await connection.close()

asyncio.run(steal())
pathlib.Path(sys.argv[1]).write_text("mine")
"""


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, desk: Desk, **environment: str) -> None:
        own, theirs = pty.openpty()
        self.screen, self.terminal = "", own
        variables = os.environ | {
            "SIGNALOPS_URL": desk.command.url,
            "SIGNALOPS_ADMIN_KEY": ADMIN_KEY,
            "TERM": "xterm",
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sidecar.main import run; run()", "review"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=variables,
            start_new_session=True,
        )
        os.close(theirs)

    def shows(self, text: str) -> None:
        """Wait until something new is on the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.screen += os.read(self.terminal, 65_536).decode(errors="replace")
        self.screen = self.screen.partition(text)[2]

    def types(self, keys: str) -> None:
        """Press keys once they are waited for: a line, or a single key."""
        deadline = time.monotonic() + PATIENCE_S
        is_line = keys.endswith("\n")
        while bool(termios.tcgetattr(self.terminal)[3] & termios.ICANON) is not is_line:
            assert time.monotonic() < deadline, self.screen
            time.sleep(0.01)
        os.write(self.terminal, keys.encode())

    def ends(self) -> int:
        found = self.process.wait(PATIENCE_S)
        os.close(self.terminal)
        return found


def test_single_keys_answer_at_a_terminal(desk: Desk, tmp_path: Path) -> None:
    lowest = draft(desk, tmp_path, "low")
    middle = draft(desk, tmp_path, "mid")
    [call] = drawn(desk)
    terminal = Terminal(desk, SIGNALOPS_REVIEWER="ann", EDITOR="sed -i s/mid/high/")
    terminal.shows("q quit > ")
    terminal.types("m")
    terminal.shows("[1 done")
    terminal.shows("> ")
    terminal.types("e")
    terminal.shows("[2 done")
    terminal.shows("> ")
    terminal.types("r")
    terminal.shows("better text")
    terminal.types("lower\n")
    terminal.shows("3 done.")
    assert terminal.ends() == 0
    assert words(desk, call) == [("label", "maybe", None)]
    assert words(desk, middle) == [("edit", None, "high")]
    assert words(desk, lowest) == [("reject", None, "lower")]


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 0), ("q", 0)])
def test_a_key_leaves_without_a_trace(desk: Desk, tmp_path: Path, key: str, code: int) -> None:
    call = draft(desk, tmp_path, "one")
    terminal = Terminal(desk, SIGNALOPS_REVIEWER="ann")
    terminal.shows("q quit > ")
    terminal.types(key)
    terminal.shows("0 done.")
    assert "Traceback" not in terminal.screen
    assert terminal.ends() == code
    assert words(desk, call) == []
