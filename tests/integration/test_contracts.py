"""A contract that nothing can break says nothing: each is broken here, on a copy."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

# A line that breaks the contract, and the file of the copy it is planted in.
PLANTED = {
    "The sidecar is layered": ("sidecar/store/events.py", "import sidecar.api.errors"),
    "The proxy's side sees only core and handoff": (
        "callbacks/flights.py",
        "import sqlalchemy",
    ),
    "The sidecar knows nothing of the proxy's side, nor of LiteLLM": (
        "sidecar/worker/drain.py",
        "import callbacks.access",
    ),
    "Core and handoff are standard library": ("sidecar/core/errors.py", "import orjson"),
    "SQL is spoken in the store alone": ("sidecar/cli/output.py", "import asyncpg"),
}


def test_each_contract_is_seen_to_break_on_a_planted_import(tmp_path: Path) -> None:
    for room in ("sidecar", "callbacks"):
        shutil.copytree(ROOT / room, tmp_path / room)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}\n{line}\n")
    done = subprocess.run(
        [LINT, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 1, said + done.stderr
    kept = [name for name in PLANTED if f"{name} BROKEN" not in said]
    assert kept == []


def test_every_contract_has_its_planted_violation() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(PLANTED)
