"""Does the laboratory start as it was told to, or say why not, and end quietly?"""

import json
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import openai
import pytest

from tests.laboratories import (
    COMMAND,
    chat,
    chat_text,
    laboratory,
)


def test_models_come_from_a_file_and_only_the_set_key_is_taken(tmp_path: Path) -> None:
    models = tmp_path / "models.json"
    models.write_text('[{"name": "mine", "judge": "echo"}]')
    arguments = ("--models", str(models), "--api-key-env", "LAB_TEST_KEY")
    with laboratory(*arguments, key="right", LAB_TEST_KEY="right") as lab:
        assert [model.id for model in lab.client.models.list()] == ["mine"]
        assert chat_text(lab, "mine", "hello") == "hello"
        stranger = lab.with_options(api_key="wrong")
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            stranger.client.models.list()
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            chat(stranger, "mine", "hello")
        assert lab.controls.get("/v1/models").status_code == 401


def test_a_port_in_use_is_told_and_exits_with_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--models", "/absent.json"], "/absent.json", id="no models file"),
        pytest.param(["--api-key-env", "LAB_ABSENT_KEY"], "LAB_ABSENT_KEY", id="no key"),
        pytest.param(["--port", "99999"], "cannot listen", id="no such port"),
    ],
)
def test_a_start_that_cannot_succeed_says_why_and_exits_with_2(
    arguments: list[str], complaint: str
) -> None:
    ended = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_on_a_signal_also_while_a_call_hangs(sign: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            hang = {"error_rate": 1, "error_kind": "timeout", "hang_s": 3600}
            client.patch("/lab/models/lab-echo", json=hang).raise_for_status()
            body = {"model": "lab-echo", "messages": [{"role": "user", "content": "a"}]}
            with suppress(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=0.2)
            process.send_signal(sign)
            _, complaints = process.communicate(timeout=30)
    assert process.returncode in {0, -sign}
    assert "Traceback" not in complaints
