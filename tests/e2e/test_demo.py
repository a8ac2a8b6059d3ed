"""The commands of the README, as a newcomer runs them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SIGNALOPS = Path(sys.executable).with_name("signalops")


@pytest.mark.timeout(300)
def test_the_demo_promotes_a_better_canary_and_rolls_a_broken_one_back() -> None:
    done = subprocess.run(
        [SIGNALOPS, "demo", "--exit"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "PROMOTED after" in done.stdout
    assert "ROLLED BACK after" in done.stdout
    assert done.stdout.count("0 of them answered by an error") == 2


def test_up_says_when_a_port_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _up(tmp_path, "--proxy-port", str(port))
    assert done.returncode == 2
    assert f"port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_waits_for_a_database_and_then_exits_3(tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/none"
    done = _up(tmp_path, "--database-url", url, "--database-within", "1")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_up_without_a_configuration_says_so(tmp_path: Path) -> None:
    done = _up(tmp_path, "--config", "nowhere.yaml")
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr


def _up(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    done = subprocess.run(
        [SIGNALOPS, "up", "--home", str(home), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    return done
