"""Where an export may be written, and what is there when it cannot."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sidecar.cli.downloads import check_place, placed

BEFORE = b"what was there before\n"

# Writes more than a file may have, as on a disk that is full.
FULL = """
import resource, sys
from pathlib import Path
from sidecar.cli.downloads import placed
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with placed(Path(sys.argv[1])) as file:
        for n in range(100_000):
            file.write(b"%d\\n" % (n * 7919 % 99991))
except OSError as error:
    print(error.strerror)
"""

# The sidecar's own disk, where lines wait that may not be sent yet.
SPOOL = """
import asyncio, resource
from sidecar.core.errors import Unavailable
from sidecar.service.spooling import spooled
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
async def lines():
    for _ in range(100):
        yield b"x" * 10_000
try:
    asyncio.run(spooled(lines()))
except Unavailable as error:
    print(error)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(target: Path, data: bytes = b"new\n") -> None:
    with placed(target) as file:
        file.write(data)


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_bytes(BEFORE)
    command = [sys.executable, "-c", FULL, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert names(tmp_path) == [name]
    assert target.read_bytes() == BEFORE


def test_a_full_disk_of_the_sidecars_is_an_outage_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPOOL],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"an export cannot be prepared in {tmp_path}: File too large\n"
    assert names(tmp_path) == []


def test_a_link_stays_and_the_file_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.jsonl", tmp_path / "link.jsonl"
    real.write_bytes(BEFORE)
    link.symlink_to(real)
    put(link)
    assert link.is_symlink()
    assert real.read_bytes() == b"new\n"
    assert names(tmp_path) == ["link.jsonl", "there"]
    assert names(real.parent) == ["real.jsonl"]


def test_a_private_file_stays_private(tmp_path: Path) -> None:
    target = tmp_path / "train.jsonl"
    target.write_bytes(BEFORE)
    target.chmod(0o600)
    put(target)
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_directory_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "train.jsonl"
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        put(target)
    with pytest.raises(typer.Exit):
        check_place(target)
    assert names(tmp_path) == ["train.jsonl"]


def test_a_pipe_or_a_device_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe, device = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    device.symlink_to("/dev/null")
    for target in (pipe, device):
        with pytest.raises(OSError, match="no regular file"):
            put(target)
        with pytest.raises(typer.Exit):
            check_place(target)
    assert "it is no regular file" in capsys.readouterr().err
    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_a_directory_that_is_not_there_is_named_before_anything_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as stopped:
        check_place(tmp_path / "absent" / "train.jsonl")
    assert stopped.value.exit_code == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_looking_at_a_place_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "train.jsonl"
    check_place(target)
    assert names(tmp_path) == []
    target.write_bytes(BEFORE)
    check_place(target)
    assert target.read_bytes() == BEFORE


@pytest.mark.parametrize("name", ["\U0001f600" * 60, "a" * 250, "-", ".gz", "a\nb.gz"])
def test_any_name_that_a_file_may_have_will_do(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    assert (gzip.decompress(data) if name.endswith(".gz") else data) == b"new\n"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, typer.Exit])
def test_what_is_interrupted_leaves_nothing_of_it(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    def broken() -> None:
        with placed(tmp_path / "train.jsonl") as file:
            file.write(b"x" * 100_000)
            raise stop

    with pytest.raises(stop):
        broken()
    assert names(tmp_path) == []
