"""The commands that decide, verify and give feedback, against a sidecar process of its own."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text
from typer.testing import Result

from sidecar.cli.output import WIDTH
from sidecar.store.database import create_engine, transaction
from tests.controlled import QUICK, traffic
from tests.databases import create_database, drop_database
from tests.measured import Made
from tests.processes import eventually
from tests.served import Command, served

COMMANDS = [
    "results",
    "decisions",
    "looks",
    "promote",
    "rollback",
    "undo",
    "set-plan",
    "verify",
]
WHY = ("--reason", "a test")


@dataclass
class Desk:
    """The command, and the database behind its sidecar."""

    command: Command
    database: str
    folder: Path

    def ok(self, *words: str) -> str:
        """Run a command that works, and whose output fits a screen."""
        result = self.command(*words)
        assert result.exit_code == 0, result.output
        lines = [line.rstrip() for line in result.stdout.splitlines()]
        wide = [line for line in lines if len(line) > WIDTH]
        assert not wide or "--json" in words, wide
        return result.stdout

    def refused(self, *words: str) -> Result:
        """Run a command that does not work, which it says in a sentence."""
        result = self.command(*words)
        assert result.exit_code in (1, 2), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        assert result.stderr.strip()
        return result

    def calls(self, experiment_id: str, **by_arm: tuple[int, int]) -> list[Made]:
        async def run() -> list[Made]:
            engine = create_engine(self.database)
            try:
                return await traffic(engine, experiment_id, **by_arm)
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def sql(self, statement: str) -> None:
        async def run() -> None:
            engine = create_engine(self.database)
            async with transaction(engine) as tx:
                await tx.execute(text(statement))
            await engine.dispose()

        asyncio.run(run())

    def plan(self, text: str | bytes) -> str:
        """Write a plan file."""
        path = self.folder / "plan.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)


@pytest.fixture(scope="module")
def desk(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    database = create_database(server_url, f"{template}_desk", template)
    folder = tmp_path_factory.mktemp("desk")
    try:
        with served(database, folder) as command:
            yield Desk(command, database, folder)
    finally:
        drop_database(database)


@pytest.fixture
def experiment(desk: Desk) -> Iterator[str]:
    """A running experiment, ended afterwards so that the next may have its group."""
    plan = desk.plan(json.dumps(QUICK))
    words = ("--group", "judge", "--plan", plan, "--json")
    name = str(json.loads(desk.ok("experiment", "create", *words))["id"])
    yield name
    desk.command("experiment", "stop", name)


@pytest.mark.parametrize("command", [*COMMANDS, "create"])
def test_every_command_explains_itself(desk: Desk, command: str) -> None:
    shown = desk.ok("experiment", command, "--help")
    assert "Usage" in shown
    assert "--json" in shown
    desk.refused("experiment", command, "--nonsense")


@pytest.mark.parametrize("command", ["add", "list"])
def test_feedback_explains_itself(desk: Desk, command: str) -> None:
    assert "x-signalops-call-id" in desk.ok("feedback", command, "--help")
    desk.refused("feedback", command)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_experiment_that_is_not_there_is_said_to_be_none(desk: Desk, command: str) -> None:
    extra = {
        "promote": WHY,
        "rollback": WHY,
        "undo": WHY,
        "set-plan": (desk.plan("{}"),),
    }.get(command, ())
    for name in ("exp-none", "../keys", "a b", "\udcff", "x" * 500):
        found = desk.refused("experiment", command, name, *extra)
        assert found.exit_code in (1, 2)


def test_a_person_decides_and_takes_it_back(desk: Desk, experiment: str) -> None:
    desk.calls(experiment, primary=(40, 0), canary=(10, 2))
    assert desk.refused("experiment", "promote", experiment).exit_code == 2
    assert desk.refused("experiment", "promote", experiment, "--reason", " ").exit_code == 1
    assert desk.refused("experiment", "undo", experiment, *WHY).exit_code == 1
    promoted = desk.ok("experiment", "promote", experiment, *WHY)
    assert "completed (promoted) on judge" in promoted
    assert "canary 100 %" in promoted
    assert desk.refused("experiment", "promote", experiment, *WHY).exit_code == 1
    assert "active" in desk.ok("experiment", "undo", experiment, *WHY)
    found = json.loads(desk.ok("experiment", "rollback", experiment, *WHY, "--json"))
    assert (found["status"], found["outcome"]) == ("completed", "rolled_back")
    shown = desk.ok("experiment", "decisions", experiment)
    for expected in ("promote", "(undone)", "rollback", "a test", "admin"):
        assert expected in shown
    listed = json.loads(desk.ok("experiment", "decisions", experiment, "--json"))
    states = [each["state"] for each in listed if each["actor"] == "admin"]
    assert states == ["rollback", "hold", "promote"]
    assert "ROLL BACK" in desk.ok("experiment", "results", experiment)


def test_looks_and_results_fit_a_screen(desk: Desk, experiment: str) -> None:
    desk.calls(experiment, primary=(400, 200), canary=(100, 50))
    eventually(lambda: json.loads(desk.ok("experiment", "looks", experiment, "--json")))
    assert "share" in desk.ok("experiment", "looks", experiment, "--limit", "2")
    assert "split as designed" in desk.ok("experiment", "results", experiment)
    assert json.loads(desk.ok("experiment", "results", experiment, "--json"))["metrics"]
    assert desk.refused("experiment", "looks", experiment, "--limit", "1").exit_code == 2
    assert desk.refused("experiment", "results", experiment, "--epoch", "9").exit_code == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", 2, id="empty"),
        pytest.param("- a\n- b\n", 2, id="a list"),
        pytest.param("goal: [", 2, id="no YAML"),
        pytest.param(b"\xff\xfe\x00", 2, id="no UTF-8"),
        pytest.param("a: &a [*a]\n", 2, id="a circle"),
        pytest.param("goal: &g\n  margin: *g\n", 2, id="a mapping in itself"),
        pytest.param("2024-01-01: 1\n", 2, id="a date for a key"),
        pytest.param("? [1, 2]\n: 3\n", 2, id="a list for a key"),
        pytest.param("? !!python/name:os.system\n: 3\n", 2, id="code"),
        pytest.param("goal: {margin: .nan}\n", 2, id="not a number"),
        pytest.param("goal: {margin: .inf}\n", 2, id="infinity"),
        pytest.param("[" * 3_000 + "]" * 3_000, 2, id="deep"),
        pytest.param('goal: {metric: "\\ud800"}\n', 2, id="half a character"),
        pytest.param("goal: {margin: -1}\n", 1, id="a margin below 0"),
        pytest.param("goal: {margin: 2024-01-01}\n", 1, id="a date"),
        pytest.param("grace_s: " + "9" * 5_000, 2, id="a number too long"),
        pytest.param("labels: !!binary aGVsbG8=\n", 1, id="bytes"),
    ],
)
def test_a_plan_file_that_is_none_is_said_to_be_none(
    desk: Desk, experiment: str, text: str | bytes, code: int
) -> None:
    found = desk.refused("experiment", "set-plan", experiment, desk.plan(text))
    assert found.exit_code == code, found.output
    assert desk.refused("experiment", "set-plan", experiment, "/nowhere").exit_code == 2
    assert json.loads(desk.ok("experiment", "show", experiment, "--json"))["epoch"] == 1


def test_a_plan_is_changed_and_says_why(desk: Desk, experiment: str) -> None:
    path = desk.plan(yaml.safe_dump({**QUICK, "mode": "auto_rollback"}))
    shown = desk.ok("experiment", "set-plan", experiment, path, "--reason", "it may act")
    assert experiment in shown
    found = json.loads(desk.ok("experiment", "show", experiment, "--json"))
    assert (found["epoch"], found["plan"]["mode"]) == (2, "auto_rollback")
    desk.ok("experiment", "results", experiment, "--epoch", "1")


def test_a_total_that_was_tampered_with_ends_with_1_until_it_is_repaired(
    desk: Desk, experiment: str
) -> None:
    desk.calls(experiment, primary=(4, 0))
    assert "every total" in desk.ok("experiment", "verify", experiment)
    desk.sql("UPDATE totals SET value = 5 WHERE name = 'calls' AND value = 4")
    found = desk.command("experiment", "verify")
    assert (found.exit_code, "1 differ" in found.stdout) == (1, True)
    assert "repaired" in desk.ok("experiment", "verify", experiment, "--repair")
    assert (
        json.loads(desk.ok("experiment", "verify", experiment, "--json"))[0]["differences"]
        == []
    )
    # Of every experiment that has such an epoch.
    assert experiment in desk.ok("experiment", "verify", "--epoch", "1")
    assert experiment not in desk.ok("experiment", "verify", "--epoch", "2")


def test_feedback_is_given_again_and_listed(desk: Desk, experiment: str) -> None:
    [call] = desk.calls(experiment, primary=(1, 0))
    words = ("feedback", "add", call.call_id, "--reviewer", "ann")
    first = json.loads(desk.ok(*words, "--label", "MAYBE", "--source", "audit", "--json"))
    again = json.loads(desk.ok(*words, "--label", "maybe", "--source", "audit", "--json"))
    assert first == again
    assert "score 0.7" in desk.ok(
        *words, "--value", "score=0.7", "--comment", "\x1b[31mred " * 9
    )
    shown = desk.ok("feedback", "list", call.call_id)
    assert ("audit" in shown, "\x1b" in shown) == (True, False)
    assert "ann" in shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--label", "hot"), 1, "relevant, irrelevant, maybe"),
        ((), 1, "give a label"),
        (("--label", "maybe", "--approved"), 1, "found"),
        (("--value", "score"), 2, "NAME=VALUE"),
        (("--value", "score=high"), 2, "NAME=VALUE"),
        (("--value", "score=nan"), 2, "NAME=VALUE"),
        (("--value", "score=inf"), 2, "NAME=VALUE"),
        (("--value", "=1"), 1, "name"),
        (("--value", "score=1e300"), 1, "within"),
        (("--label", "maybe", "--source", "rumour"), 1, "source"),
        (("--label", "maybe", "--comment", "a\x00b"), 1, "NUL"),
        (("--label", "\udcff"), 2, "UTF-8"),
    ],
)
def test_feedback_that_cannot_be_is_refused(
    desk: Desk, experiment: str, words: tuple[str, ...], code: int, says: str
) -> None:
    [call] = desk.calls(experiment, primary=(1, 0))
    found = desk.refused("feedback", "add", call.call_id, "--reviewer", "ann", *words)
    assert found.exit_code == code, found.output
    assert says in found.stderr
    assert json.loads(desk.ok("feedback", "list", call.call_id, "--json")) == []
