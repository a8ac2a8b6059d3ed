"""Edits of the YAML, under load: nothing fails, and every worker follows."""

import threading
from collections.abc import Callable
from typing import Any

import yaml

from tests.e2e.calls import chat
from tests.e2e.conftest import JUDGE, System, deployment, wait_for


def load_while(system: System, work: Callable[[], None]) -> list[tuple[int | None, str]]:
    """Ask from 4 threads, half of it streamed, for as long as `work` runs."""
    over, seen = threading.Event(), []

    def ask(number: int) -> None:
        client, count = system.client(), 0
        while not over.is_set():
            count += 1
            answer = chat(client, "judge", f"load-{number}-{count}", stream=count % 2 == 0)
            seen.append((answer.status, answer.text))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return seen


def test_edits_under_load_break_nothing_and_reach_every_worker(system: System) -> None:
    original = system.plan.config.read_text()
    lab_url = system.running.lab_url or ""

    def edit_twenty_times_and_swap() -> None:
        for number in range(20):
            system.edit(lambda config, n=number: _set_weights(config, 50 + n, 50 - n))
        system.edit(lambda config: _swap_canary(config, lab_url))

    try:
        seen = load_while(system, edit_twenty_times_and_swap)
        assert len(seen) > 50
        assert [
            answer for answer in seen if answer[0] != 200 or '"label"' not in answer[1]
        ] == []
        after = [chat(system.client(), "judge", f"after-{n}", stream=False) for n in range(60)]
        served = {answer.headers["x-signalops-served-by"] for answer in after}
        assert served == {"judge-primary", "judge-canary-2"}
    finally:
        system.edit(lambda config: config.update(yaml.safe_load(original)))


def test_an_invalid_edit_changes_nothing_and_is_reported(system: System) -> None:
    original, before = system.plan.config.read_text(), system.routes()
    bad = {
        "model_list: [": "YAML",
        original.replace("weight: 80", "weight: -1"): "weight",
        original.replace("id: judge-canary", "id: judge-primary"): "judge-primary",
        original.replace("arm: canary", "arm: no spaces"): "arm",
        original.replace("task: judge", "task: guess"): "task",
    }
    try:
        for text, named in bad.items():
            system.plan.config.write_text(text)
            error = wait_for(f"a report about {named}", lambda: system.routes()["config_error"])
            wait_for(
                f"a report about {named}",
                lambda n=named: n in str(system.routes()["config_error"]),
            )
            assert error
            assert system.routes()["generation"] == before["generation"]
            assert chat(system.client(), "judge", "u", stream=False).status == 200
    finally:
        system.plan.config.write_text(original)
    wait_for("the report to go", lambda: system.routes()["config_error"] is None)


def test_a_ramp_moves_units_into_the_canary_and_none_out(system: System) -> None:
    original = system.plan.config.read_text()
    units = [f"ramp-{number}" for number in range(100)]

    def arms() -> dict[str, str]:
        client = system.client()
        answers = {unit: chat(client, "judge", unit, stream=False) for unit in units}
        return {unit: answer.headers["x-signalops-arm"] for unit, answer in answers.items()}

    before = arms()
    assert arms() == before
    try:
        system.edit(lambda config: _set_weights(config, 50, 50))
        after = arms()
    finally:
        system.edit(lambda config: config.update(yaml.safe_load(original)))
    assert {unit for unit in units if before[unit] == "canary"} <= {
        unit for unit in units if after[unit] == "canary"
    }
    assert list(after.values()).count("canary") > list(before.values()).count("canary")


def _set_weights(config: dict[str, Any], primary: int, canary: int) -> None:
    for entry, weight in zip(config["model_list"][:2], (primary, canary), strict=True):
        entry["litellm_params"]["weight"] = weight


def _swap_canary(config: dict[str, Any], lab_url: str) -> None:
    config["model_list"][1] = deployment(
        "judge", "judge-canary-2", "openai/good", lab_url, weight=50, arm="canary", **JUDGE
    )
