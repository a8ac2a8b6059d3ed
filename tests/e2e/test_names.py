"""Arms and names that come from elsewhere, served without a restart."""

from typing import Any

import openai
import pytest

from tests.e2e.calls import POST, chat
from tests.e2e.conftest import System
from tests.e2e.test_experiments import signalops


@pytest.fixture
def registered(system: System) -> str:
    """A name with a version that answers what it is asked."""
    name, lab_url = "borrowed", f"{system.running.lab_url}/v1"
    signalops(
        system, "model", "register", "--model-id", "lab-parrot", "--provider", "openai",
        "--type", "judge", "--name", name, "--api-base", lab_url,
        "--api-key-env", "LAB_API_KEY",
    )  # fmt: skip
    return name


def workers(system: System) -> set[str]:
    return {worker["writer"] for worker in system.routes()["workers"] if worker["alive"]}


def ask(system: System, model: str) -> Any:
    return chat(system.client(), model, "u", stream=False)


def test_a_canary_is_borrowed_from_another_group_and_given_back(system: System) -> None:
    before = workers(system)
    made = signalops(
        system, "experiment", "create", "--primary", "judge-primary", "--canary", "echo-1",
        "--canary-pct", "0.5",
    )  # fmt: skip
    try:
        system.settle()
        client = system.client()
        seen = [chat(client, "judge", f"borrow-{n}", stream=n % 2 == 0) for n in range(40)]
        assert {answer.status for answer in seen} == {200}
        for answer in seen:
            arm = answer.headers["x-signalops-arm"]
            # What is borrowed is a deployment of its own, so that cooldowns stay apart.
            served = {"primary": "judge-primary", "canary": "judge/canary/echo-1"}[arm]
            row = system.call(answer.call_id)
            assert (row["served_deployment"], row["served_arm"]) == (served, arm)
            # The one says what it was told, the other judges it.
            assert (answer.text == POST) == (arm == "canary")
        assert {answer.headers["x-signalops-arm"] for answer in seen} == {"primary", "canary"}
        # Its own group goes on meanwhile.
        assert ask(system, "echo").text == POST
    finally:
        signalops(system, "experiment", "stop", made["id"])
        system.settle()
    again = [chat(system.client(), "judge", f"borrow-{n}", stream=False) for n in range(40)]
    assert all(answer.text != POST for answer in again)
    assert ask(system, "echo").text == POST
    assert workers(system) == before


def test_a_registered_name_is_served_from_its_activation_to_its_deactivation(
    system: System, registered: str
) -> None:
    before = workers(system)
    for _ in range(2):  # taken up again after it was taken out
        with pytest.raises(openai.NotFoundError):
            raise_for(system, f"ft:{registered}")
        signalops(system, "model", "activate", f"{registered}@v1")
        system.settle()
        seen = [ask(system, f"ft:{registered}") for _ in range(10)]
        assert {(answer.status, answer.text) for answer in seen} == {(200, POST)}
        row = system.call(seen[0].call_id)
        assert (row["requested_model"], row["outcome"]) == (f"ft:{registered}", "served")
        signalops(system, "model", "deactivate", registered)
        system.settle()
    with pytest.raises(openai.NotFoundError, match=f"ft:{registered}"):
        raise_for(system, f"ft:{registered}")
    assert workers(system) == before


def raise_for(system: System, model: str) -> None:
    system.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": POST}]
    )
