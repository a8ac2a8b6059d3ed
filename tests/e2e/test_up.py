"""What `signalops up` does beside running: a second one, an early end, a cold start."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest
import yaml

from sidecar.handoff.journal import read_chunk, segments
from sidecar.handoff.routes import FILE_NAME
from sidecar.up.child import Child
from sidecar.up.home import Home
from sidecar.up.stack import LAB_KEY, free_port
from sidecar.up.supervisor import Supervisor
from tests.e2e.calls import chat
from tests.e2e.conftest import System, config_of, wait_for
from tests.embedded import common_ground

BIN = Path(sys.executable).parent


def up_command(home: Path, config: Path) -> list[str]:
    ports = ["--proxy-port", str(free_port()), "--sidecar-port", str(free_port())]
    return [str(BIN / "signalops"), "up", "--home", str(home), "--config", str(config), *ports]


def test_a_second_up_on_the_same_home_says_so_and_exits_2(system: System) -> None:
    done = subprocess.run(
        up_command(system.plan.home.root, system.plan.config),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 2, done.stderr
    assert str(system.plan.home.root) in done.stderr
    assert str(os.getpid()) in done.stderr  # the first one's, which is ours
    assert "Traceback" not in done.stderr
    assert chat(system.client(), "echo", "u", stream=False).status == 200


@pytest.mark.parametrize(
    ("part", "number"),
    [("postgres", signal.SIGINT), ("sidecar", signal.SIGTERM), ("proxy", signal.SIGINT)],
)
def test_an_up_that_is_stopped_while_it_starts_ends_with_0_and_leaves_nothing(
    part: str, number: signal.Signals
) -> None:
    with common_ground() as folder:
        home, config = Home(folder / "home"), folder / "proxy_config.yaml"
        config.write_text(yaml.safe_dump(config_of("http://127.0.0.1:9")))
        process = subprocess.Popen(
            up_command(home.root, config), stderr=subprocess.PIPE, text=True
        )
        try:
            wait_for(f"a log of {part}", home.log_of(part).exists)
            brood = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        assert "http://" not in said  # what is not ready is not announced
        wait_for("every process to be gone", lambda: not any(p.is_running() for p in brood))


@pytest.fixture
def lone_proxy(system: System) -> Iterator[tuple[openai.OpenAI, Path]]:
    """A proxy beside a volume that no sidecar has ever published to."""
    with common_ground() as folder:
        port, volume = free_port(), folder / "handoff"
        variables = os.environ | {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": system.running.master_key,
            "SIGNALOPS_HANDOFF": str(volume),
            LAB_KEY: "laboratory",
        }
        variables.pop("DATABASE_URL", None)
        config = ("--config", str(system.plan.config), "--host", "127.0.0.1")
        child = Child(
            name="proxy",
            argv=(str(BIN / "litellm"), *config, "--port", str(port)),
            environment=variables,
            log_path=folder / "proxy.log",
            ready=_answers(f"http://127.0.0.1:{port}/health/liveliness"),
        )
        with Supervisor(threading.Event()) as supervisor:
            supervisor.launch(child, ready_within_s=120)
            url, key = f"http://127.0.0.1:{port}/v1", system.running.master_key
            with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
                yield client, volume


def test_a_proxy_nobody_has_published_to_serves_by_the_yamls_own_weights(
    system: System, lone_proxy: tuple[openai.OpenAI, Path]
) -> None:
    client, volume = lone_proxy
    units = [f"cold-{number}" for number in range(60)]
    answers = {unit: chat(client, "judge", unit, stream=False) for unit in units}
    assert {answer.status for answer in answers.values()} == {200}
    assert {a.headers["x-signalops-generation"] for a in answers.values()} == {"0"}
    arms = {unit: answer.headers["x-signalops-arm"] for unit, answer in answers.items()}
    assert 0 < list(arms.values()).count("canary") < 30  # 20 % of 60
    # What the sidecar would have answered: publishing moves nobody.
    explain = "/v1/routes/explain"
    for unit, arm in arms.items():
        found = system.admin.get(explain, params={"group": "judge", "unit": unit})
        assert found.json()["arm"] == arm
    assert {line["call_id"] for line in journalled(volume)} == {
        answer.call_id for answer in answers.values()
    }
    # A project's key cannot be known yet, and that is what is said.
    with pytest.raises(openai.APIStatusError, match="is the sidecar running") as refused:
        chat_with(client, system.key)
    assert refused.value.status_code == 503

    hidden = volume / "hidden"
    shutil.copy(system.plan.home.handoff / FILE_NAME, hidden)
    hidden.replace(volume / FILE_NAME)
    after = wait_for("the first routes", lambda: published(client))
    assert after == str(system.routes()["generation"])
    again = {unit: chat(client, "judge", unit, stream=False) for unit in units[:20]}
    assert {u: a.headers["x-signalops-arm"] for u, a in again.items()} == {
        unit: arms[unit] for unit in units[:20]
    }
    chat_with(client, system.key)


def journalled(volume: Path) -> list[dict[str, object]]:
    chunks = [read_chunk(s, start=0, max_bytes=1 << 24) for s in segments(volume / "journal")]
    lines = [json.loads(line) for chunk in chunks for line in chunk.lines]
    return [line for line in lines if line["kind"] == "call"]


def published(client: openai.OpenAI) -> str | None:
    generation = chat(client, "judge", "u", stream=False).headers["x-signalops-generation"]
    return None if generation == "0" else generation


def chat_with(client: openai.OpenAI, key: str) -> None:
    other = client.with_options(api_key=key)
    other.chat.completions.create(model="echo", messages=[{"role": "user", "content": "a"}])


def _answers(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(url, timeout=2).status_code == 200
