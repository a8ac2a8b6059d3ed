"""A sidecar in a process of its own, and the `signalops` command told where it is."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from typer.testing import CliRunner, Result

from sidecar.cli.main import app
from sidecar.up.stack import free_port
from tests.apis import ADMIN_KEY
from tests.configurations import judge
from tests.processes import eventually


@dataclass
class Command:
    """The command, told where its sidecar is."""

    url: str
    config: Path

    def __call__(self, *words: str, **environment: str | None) -> Result:
        variables = {"SIGNALOPS_URL": self.url, "SIGNALOPS_ADMIN_KEY": ADMIN_KEY, **environment}
        return CliRunner().invoke(app, list(words), env=variables)

    def ok(self, *words: str) -> str:
        result = self(*words)
        assert result.exit_code == 0, result.output
        assert max((len(line) for line in result.stdout.splitlines()), default=0) < 200
        return result.stdout

    def json(self, *words: str) -> object:
        return json.loads(self.ok(*words, "--json"))

    def plan(self, *words: str) -> str:
        made = self.json("experiment", "create", *words, "--no-start")
        assert isinstance(made, dict)
        return str(made["id"])


@contextmanager
def served(database: str, folder: Path) -> Iterator[Command]:
    """Run a sidecar on a database until the block ends, on the configuration of a judge."""
    config, port = folder / "proxy_config.yaml", free_port()
    config.write_text(yaml.safe_dump(judge()))
    environment = os.environ | {
        "SIGNALOPS_DATABASE_URL": database,
        "SIGNALOPS_ADMIN_KEY": ADMIN_KEY,
        "SIGNALOPS_HOME": str(folder / "home"),
        "SIGNALOPS_CONFIG_PATH": str(config),
        "SIGNALOPS_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "sidecar.api"], env=environment)
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.poll() is None, "the sidecar ended"
        try:
            return httpx.get(f"{url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(is_ready)
        yield Command(url, config)
    finally:
        process.terminate()
        assert process.wait(30) in {0, -signal.SIGTERM}  # uvicorn ends by the signal
