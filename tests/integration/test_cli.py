"""The `signalops` command against a sidecar process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from sidecar.cli.output import WIDTH
from tests.apis import ADMIN_KEY
from tests.configurations import FINE_TUNED
from tests.databases import create_database, drop_database
from tests.processes import eventually
from tests.served import Command, served


@pytest.fixture(scope="module")
def signalops(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    database = create_database(server_url, f"{template}_cli", template)
    try:
        with served(database, tmp_path_factory.mktemp("cli")) as command:
            yield command
    finally:
        drop_database(database)


def test_an_experiment_lives_its_life(signalops: Command) -> None:
    created = signalops.ok(
        *("experiment", "create", "--group", "judge", "--canary-pct", "0.3"),
        *("--hypothesis", "b [bold]is[/bold] better"),
    )
    assert "active on judge: primary 70 %, canary 30 %" in created
    name = created.split()[0]
    assert "50 %" in signalops.ok("experiment", "set-shares", name, "primary=.5", "canary=.5")
    assert "paused" in signalops.ok("experiment", "pause", name, "--reason", "lunch")
    assert "active" in signalops.ok("experiment", "resume", name)
    shown = signalops.ok("experiment", "show", name)
    for expected in ("b [bold]is[/bold] better", "lunch", "shares_set", "judge-b", "Z"):
        assert expected in shown
    assert "primary" in signalops.ok("experiment", "results", name)
    assert "completed" in signalops.ok("experiment", "stop", name)
    assert name in signalops.ok("experiment", "list", "--status", "completed")


def test_arms_are_named_by_deployments_or_models(signalops: Command) -> None:
    made = signalops.json(
        *("experiment", "create", "--primary", "draft", "--canary", "spare-a", "--no-start")
    )
    assert isinstance(made, dict)
    assert (made["group"], made["shares"]) == ("draft", {"primary": 0.99, "canary": 0.01})
    assert made["arms"] == {"primary": ["draft-a"], "canary": ["spare-a"]}


def test_a_direct_ft_id_is_registered_activated_and_compared(signalops: Command) -> None:
    words = ("--model-id", FINE_TUNED, "--provider", "openai", "--type", "judge")
    assert "is not active" in signalops.ok("model", "register", *words)
    assert "serves ft:triage" in signalops.ok("model", "activate", "triage")
    assert FINE_TUNED in signalops.ok("model", "list")
    made = signalops.ok("experiment", "create", "--primary", FINE_TUNED, "--canary", "spare")
    assert f"active on {FINE_TUNED}" in made
    signalops.ok("experiment", "stop", made.split()[0])
    assert "is not active" in signalops.ok("model", "deactivate", "triage@v1")
    assert "serves" in signalops.ok("model", "activate", FINE_TUNED)
    assert signalops("model", "activate", "nope").exit_code == 1
    assert "is not active" in signalops.ok("model", "deactivate", "ft:triage")
    assert signalops("model", "deactivate", "triage").exit_code == 2


def test_keys_are_made_listed_and_revoked(signalops: Command) -> None:
    made = signalops.ok("key", "create", "--project", "acme", "--scope", "infer,read")
    secret = made.splitlines()[0]
    assert secret.startswith("so-")
    listed = signalops.ok("key", "list", "--project", "acme")
    assert "infer, read" in listed
    assert secret not in listed
    forbidden = signalops("key", "list", SIGNALOPS_ADMIN_KEY=secret)
    assert (forbidden.exit_code, "403" in forbidden.stderr) == (1, True)
    allowed = signalops("routes", "show", SIGNALOPS_ADMIN_KEY=None, SIGNALOPS_KEY=secret)
    assert allowed.exit_code == 0
    key_id = listed.splitlines()[1].split()[0]
    assert "is revoked since" in signalops.ok("key", "revoke", key_id)
    assert signalops("routes", "show", SIGNALOPS_ADMIN_KEY=secret).exit_code == 1


def test_routes_and_health_are_shown(signalops: Command) -> None:
    shown = signalops.ok("routes", "show")
    assert "judge-b" in shown
    assert "no proxy worker runs" in shown
    assert max(len(line) for line in shown.splitlines()) <= WIDTH
    explained = signalops.ok("routes", "explain", "--group", "judge", "--unit", "u-1")
    assert "falls into bucket" in explained
    assert "ready" in signalops.ok("health")
    assert signalops.ok("call", "list").split()[0] == "call"


def test_a_yaml_that_is_not_in_force_is_told_of(signalops: Command) -> None:
    good = signalops.config.read_text()
    signalops.config.write_text("model_list: [")
    eventually(lambda: "the YAML is not in force" in signalops.ok("routes", "show"))
    signalops.config.write_text(good)
    eventually(lambda: "not in force" not in signalops.ok("routes", "show"))


def test_a_page_holds_no_more_than_asked_for(signalops: Command) -> None:
    for _ in range(3):
        signalops.plan("--group", "judge")
    listed = signalops.json("experiment", "list", "--limit", "2")
    assert isinstance(listed, list)
    assert len(listed) == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(("experiment", "show", "nope"), 1, "404", id="no such experiment"),
        pytest.param(("experiment", "show", ".."), 2, "no id", id="a path for an id"),
        pytest.param(
            ("experiment", "stop", "yaml-judge"), 1, "follows the YAML", id="the YAML's"
        ),
        pytest.param(("experiment", "create"), 2, "--primary", id="nothing named"),
        pytest.param(
            ("experiment", "create", "--group", "jugde"), 1, "'judge'", id="an unknown group"
        ),
        pytest.param(
            ("experiment", "create", "--group", "draft"), 1, "no arm 'canary'", id="one arm"
        ),
        pytest.param(
            ("experiment", "create", "--group", "judge", "--canary-pct", "10"),
            2,
            "canary-pct",
            id="a percentage for a share",
        ),
        pytest.param(
            ("experiment", "set-shares", "x", "canary"), 2, "canary=0.2", id="no share"
        ),
        pytest.param(("call", "show", "x"), 1, "no call id", id="no call id"),
        pytest.param(("key", "create", "--scope", "infer"), 2, "--project", id="no project"),
        pytest.param(
            ("key", "create", "--project", "p", "--scope", "all"), 1, "infer", id="a scope"
        ),
        pytest.param(("health", "--url", "http://127.0.0.1:1"), 3, "up", id="nobody there"),
        pytest.param(("health", "--url", "nowhere"), 2, "http", id="no address"),
        pytest.param(("health", "--url", "http://h:x"), 2, "http", id="no port"),
    ],
)
def test_a_users_mistake_is_a_sentence_and_a_code(
    signalops: Command, words: tuple[str, ...], code: int, says: str
) -> None:
    result = signalops(*words)
    assert (result.exit_code, says in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_the_key_is_found_in_the_home(signalops: Command, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"# ours\n\nOTHER=1\nSIGNALOPS_ADMIN_KEY={ADMIN_KEY}\n")
    nothing = {"SIGNALOPS_ADMIN_KEY": None, "SIGNALOPS_KEY": None}
    found = signalops("routes", "show", SIGNALOPS_HOME=str(tmp_path), **nothing)
    assert found.exit_code == 0, found.output
    lost = signalops("routes", "show", SIGNALOPS_HOME=str(tmp_path / "none"), **nothing)
    assert (lost.exit_code, "SIGNALOPS_ADMIN_KEY" in lost.stderr) == (2, True)


@pytest.mark.parametrize(
    ("variables", "code", "says"),
    [
        pytest.param({"SIGNALOPS_ADMIN_KEY": ""}, 2, "SIGNALOPS_ADMIN_KEY", id="no key"),
        pytest.param({"SIGNALOPS_PORT": "x"}, 2, "SIGNALOPS_PORT", id="no port"),
        pytest.param({"SIGNALOPS_ROLES": "cook"}, 2, "SIGNALOPS_ROLES", id="no role"),
        pytest.param(
            {"SIGNALOPS_DATABASE_URL": "mysql://u:secret@h/d"}, 2, "PostgreSQL", id="mysql"
        ),
        pytest.param(
            {"SIGNALOPS_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/d"},
            3,
            "reached",
            id="away",
        ),
    ],
)
def test_a_sidecar_that_cannot_start_says_why(
    tmp_path: Path, variables: dict[str, str], code: int, says: str
) -> None:
    url = make_url("postgresql://u:p@127.0.0.1:1/d").render_as_string(hide_password=False)
    environment = os.environ | {
        "SIGNALOPS_DATABASE_URL": url,
        "SIGNALOPS_ADMIN_KEY": ADMIN_KEY,
        "SIGNALOPS_HOME": str(tmp_path),
        "SIGNALOPS_DATABASE_WAIT_S": "0",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "sidecar.api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
