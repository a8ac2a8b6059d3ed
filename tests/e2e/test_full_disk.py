"""A volume with no room left: calls are served, counted, and stored once there is room."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.calls import SURFACES, Seen
from tests.e2e.conftest import System, system_in, wait_for
from tests.embedded import ROOT, common_ground

SIZE = "4m"  # of the volume: room for a few hundred records
PIECE = b"x" * 4096


@pytest.fixture
def small_volume() -> Iterator[Path]:
    """A folder whose `home/handoff` is a file system of its own, of a few megabytes."""
    if not ROOT:
        pytest.skip("only root may mount a file system")
    with common_ground() as folder:
        (folder / "home").mkdir(mode=0o711)
        volume = folder / "home" / "handoff"
        volume.mkdir(mode=0o700)
        options = f"size={SIZE},mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(volume)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(volume)], check=True)


def fill(path: Path) -> None:
    """Write until the disk refuses the smallest piece."""
    with path.open("wb", buffering=0) as file:
        for piece in (PIECE, b"x"):
            try:
                while True:
                    file.write(piece)
            except OSError:
                continue


def ask(system: System, count: int) -> list[Seen]:
    """Ask on every surface, whole and streamed, from 4 threads."""
    ways = [(call, stream) for call in SURFACES.values() for stream in (False, True)]

    def one(number: int) -> Seen:
        call, stream = ways[number % len(ways)]
        return call(system.client(), "judge", f"full-{number}", stream=stream)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


def health(system: System) -> dict[str, Any]:
    return dict(system.admin.get("/health/ready").raise_for_status().json())


def waiting(system: System) -> int:
    return sum(worker["counts"]["waiting"] for worker in health(system)["workers"])


@pytest.mark.timeout(300)
def test_what_a_full_disk_refuses_is_served_counted_and_stored_later(
    small_volume: Path,
) -> None:
    with system_in(small_volume) as system:
        filler = system.plan.home.handoff / "filler"
        before = ask(system, 12)
        wait_for("the first rows", lambda: health(system)["reconciliation"]["stored"] >= 12)
        fill(filler)
        during = ask(system, 120)
        # Nothing of it reaches a client, on any surface.
        assert {answer.status for answer in before + during} == {200}
        assert all('"label"' in answer.text for answer in during)
        assert wait_for("an alarm", lambda: waiting(system)) > 0
        alarm = health(system)
        assert alarm["reconciliation"]["waiting"] > 0
        assert alarm["reconciliation"]["lost"] == 0
        assert chat_is_listed(system, before[0])

        filler.unlink()
        wait_for("nothing to wait", lambda: waiting(system) == 0)
        asked = before + during
        rows = [system.call(answer.call_id) for answer in asked]
        assert len({row["call_id"] for row in rows}) == len(asked)
        assert {row["outcome"] for row in rows} == {"served"}
        calm = wait_for("every call to be stored", lambda: all_stored(system, len(asked)))
        assert (calm["lost"], calm["waiting"]) == (0, 0)


def chat_is_listed(system: System, seen: Seen) -> bool:
    """Whether the admin API works while the volume is full."""
    return system.admin.get(f"/v1/calls/{seen.call_id}").status_code == 200


def all_stored(system: System, count: int) -> dict[str, Any] | None:
    found = health(system)["reconciliation"]
    return found if found["stored"] == count else None
