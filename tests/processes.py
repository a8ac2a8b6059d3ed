"""Processes with workers, as the stack runs them, and how tests wait for them."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PYTHON = sys.executable
DEADLINE_S = 90.0

# Two workers in the group of their leader, as a proxy has them.
LEADER = """
import subprocess, sys, time
workers = [subprocess.Popen([sys.executable, "-c", WORKER]) for _ in range(2)]
print("up", *(worker.pid for worker in workers), flush=True)
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
MILD = "import time; time.sleep(600)"


def leader(worker: str = MILD) -> tuple[str, ...]:
    return (PYTHON, "-c", f"WORKER = {worker!r}\n{LEADER}")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def workers_in(log: Path) -> list[int]:
    """Pids of the workers that the last started leader reported."""
    ups = [line for line in log.read_text().splitlines() if line.startswith("up ")]
    return [int(word) for word in ups[-1].split()[1:]] if ups else []


def has(log: Path, text: str) -> Callable[[], bool]:
    return lambda: log.exists() and text in log.read_text()
