"""The life of an experiment, by the command line, seen by a client."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.calls import chat
from tests.e2e.conftest import System, wait_for

SIGNALOPS = Path(sys.executable).with_name("signalops")
FINE_TUNED = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"


def signalops(system: System, *arguments: str, code: int = 0) -> Any:
    """Run the command as a user does; gives what `--json` printed."""
    done = subprocess.run(
        [SIGNALOPS, *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "SIGNALOPS_URL": system.running.sidecar_url,
            "SIGNALOPS_ADMIN_KEY": system.running.admin_key,
        },
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def arms(system: System, group: str, units: int = 60) -> list[str]:
    client = system.client()
    answers = [chat(client, group, f"life-{n}", stream=False) for n in range(units)]
    assert {answer.status for answer in answers} == {200}
    return [answer.headers["x-signalops-arm"] for answer in answers]


def test_an_explicit_experiment_owns_its_group_until_it_ends(system: System) -> None:
    made = signalops(
        system, "experiment", "create", "--primary", "judge-primary", "--canary",
        "judge-canary", "--canary-pct", "0.5", "--hypothesis", "the tuned judge is better",
    )  # fmt: skip
    name = made["id"]
    system.settle()
    first = arms(system, "judge")
    assert 10 < first.count("canary") < 50
    again = signalops(
        system, "experiment", "create", "--primary", "judge-primary",
        "--canary", "judge-canary", code=1,
    )  # fmt: skip
    assert again is None or name in json.dumps(again)

    signalops(system, "experiment", "set-shares", name, "primary=0", "canary=1")
    system.settle()
    assert set(arms(system, "judge")) == {"canary"}
    signalops(system, "experiment", "pause", name)
    system.settle()
    assert set(arms(system, "judge")) == {"primary"}
    signalops(system, "experiment", "resume", name)
    signalops(system, "experiment", "stop", name)
    system.settle()
    assert 0 < arms(system, "judge").count("canary") < 30  # the YAML's 20 % again

    def stages() -> Any:
        results = signalops(system, "experiment", "results", name)
        return results if sum(arm["calls"] for arm in results["arms"]) >= 120 else None

    results = wait_for("the experiment's calls", stages)
    assert results["decision"]["state"] == "keep_collecting"
    assert {arm["arm"] for arm in results["arms"]} == {"primary", "canary"}


def test_a_direct_fine_tuned_id_can_be_the_primary_of_an_experiment(system: System) -> None:
    made = signalops(
        system, "experiment", "create", "--primary", FINE_TUNED, "--canary", "judge-primary",
        "--canary-pct", "0.5",
    )  # fmt: skip
    try:
        system.settle()
        assert 10 < arms(system, FINE_TUNED).count("canary") < 50
    finally:
        signalops(system, "experiment", "stop", made["id"])
        system.settle()


def test_a_registered_name_serves_its_active_version(system: System) -> None:
    lab_url = f"{system.running.lab_url}/v1"
    for model in ("lab-echo", "good"):
        signalops(
            system, "model", "register", "--model-id", model, "--provider", "openai",
            "--type", "judge", "--name", "relevance", "--api-base", lab_url,
            "--api-key-env", "LAB_API_KEY",
        )  # fmt: skip
    assert [model["name"] for model in signalops(system, "model", "list")] == ["relevance"]
    signalops(system, "model", "activate", "relevance@v1")
    system.settle()
    assert chat(system.client(), "ft:relevance", "u", stream=False, text="é").text == "é"
    signalops(system, "model", "activate", "relevance@v2")
    system.settle()
    assert '"label"' in chat(system.client(), "ft:relevance", "u", stream=False).text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["experiment", "show", "exp-nothing"], 1),
        (["experiment", "create", "--primary", "nobody", "--canary", "judge-canary"], 1),
        (["key", "create", "--project", "p", "--scope", "everything"], 1),
        (["routes", "explain", "--group", "nothing", "--unit", "u"], 1),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(
    system: System, arguments: list[str], code: int
) -> None:
    signalops(system, *arguments, code=code)
