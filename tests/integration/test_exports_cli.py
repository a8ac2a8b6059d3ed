"""`signalops export` against servers that break, and what is on the disk afterwards."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sidecar.cli.main import app
from tests.apis import ADMIN_KEY
from tests.processes import eventually

LINES = [b'{"n":%d}\n' % number for number in range(10)]
WHOLE = b"".join(LINES)
BEFORE = b"what was there before\n"


@dataclass
class Server:
    """An API that sends what it is told to, and no more.

    Args:
        lines: Sent, each as a piece. `promised`: what the header says.
        ends: `well`, `early` (the connection is cut), or `never`.
    """

    url: str = ""
    lines: list[bytes] = field(default_factory=lambda: list(LINES))
    promised: int = len(LINES)
    ends: str = "well"
    asked: list[str] = field(default_factory=list)
    has_sent: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        self.state.asked.append(self.path)
        if not self.path.split("?")[0].endswith("/export"):
            return self.answer({"kind": "dpo"})
        self.send_response(200)
        self.send_header("X-Signalops-Rows", str(self.state.promised))
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in self.state.lines:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        self.wfile.flush()
        self.state.has_sent.set()
        if self.state.ends == "never":
            self.state.may_end.wait(60)
        if self.state.ends == "well":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True
        return None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.state.asked.append(f"POST {self.path} {body.decode()}")
        self.answer({"id": "ds-built"})

    def answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Handler", (_Handler,), {"state": state})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield state
    state.may_end.set()
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "files" / "train.jsonl"
    path.parent.mkdir()
    path.write_bytes(BEFORE)
    return path


def words(server: Server, target: Path, *more: str) -> list[str]:
    output = ("--format", "trl-dpo", "--output", str(target), "--url", server.url)
    return ["export", *(more or ("dataset", "ds-1")), *output]


def run(server: Server, target: Path, *more: str) -> Result:
    variables = {"SIGNALOPS_ADMIN_KEY": ADMIN_KEY}
    return CliRunner().invoke(app, words(server, target, *more), env=variables)


def names(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir()]


def untouched(target: Path) -> bool:
    return names(target) == [target.name] and target.read_bytes() == BEFORE


def test_a_whole_export_takes_the_files_place(server: Server, target: Path) -> None:
    result = run(server, target)
    assert result.exit_code == 0, result.output
    assert f"ds-1: 10 rows in {target}" in " ".join(result.stdout.split())
    assert target.read_bytes() == WHOLE
    assert names(target) == [target.name]


def test_a_name_in_gz_is_compressed_and_the_same_bytes_again(
    server: Server, target: Path
) -> None:
    packed = target.with_name("train.jsonl.gz")
    assert run(server, packed).exit_code == 0
    first = packed.read_bytes()
    assert gzip.decompress(first) == WHOLE
    other = target.with_name("other.jsonl.gz")
    assert run(server, other).exit_code == 0
    assert other.read_bytes() == first


def test_a_connection_that_breaks_leaves_what_was_there(server: Server, target: Path) -> None:
    server.lines, server.ends = LINES[:4], "early"
    result = run(server, target)
    assert result.exit_code == 3
    assert "the export broke off" in result.stderr
    assert untouched(target)


def test_fewer_rows_than_promised_are_not_a_file(server: Server, target: Path) -> None:
    server.lines = LINES[:9]
    result = run(server, target)
    assert result.exit_code == 3
    assert "9 rows of 10 came" in result.stderr
    assert untouched(target)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_killed_leaves_what_was_there(
    server: Server, target: Path, blow: signal.Signals
) -> None:
    server.lines, server.ends = LINES[:4], "never"
    command = [sys.executable, "-c", "from sidecar.main import run; run()"]
    process = subprocess.Popen(
        [*command, *words(server, target)],
        env=os.environ | {"SIGNALOPS_ADMIN_KEY": ADMIN_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: server.has_sent.is_set() or process.poll() is not None)
    process.send_signal(blow)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in said
    assert ("interrupted before it was done" in said) == (blow == signal.SIGINT)
    # A file system without nameless files keeps a hidden one when nobody can clear it away.
    assert [name for name in names(target) if not name.endswith(".part")] == [target.name]
    assert target.read_bytes() == BEFORE


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    result = run(server, tmp_path / "absent" / "train.jsonl")
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in " ".join(result.stderr.split())
    assert run(server, tmp_path).exit_code == 2


def test_training_data_is_built_and_then_exported(server: Server, target: Path) -> None:
    more = ("training-data", "--type", "dpo", "--project", "p", "--group", "g", "--json")
    result = run(server, target, *more)
    assert result.exit_code == 0, result.output
    built, exported = server.asked
    assert built == 'POST /v1/datasets {"kind":"dpo","project_id":"p","group":"g"}'
    assert exported == "/v1/datasets/ds-built/export?format=trl-dpo"
    told = json.loads(result.stdout)
    assert (told["dataset"], told["rows"], told["path"]) == ("ds-built", 10, str(target))


def test_a_dataset_of_another_type_is_not_exported(server: Server, target: Path) -> None:
    more = ("training-data", "--type", "sft", "--dataset", "ds-1")
    result = run(server, target, *more)
    assert result.exit_code == 2
    assert "ds-1 is a dataset of type dpo" in " ".join(result.stderr.split())
    assert untouched(target)


def test_options_that_would_do_nothing_are_refused(server: Server, target: Path) -> None:
    dataset = ("--dataset", "ds-1")
    assert run(server, target, "training-data", "--type", "judgments", *dataset).exit_code == 2
    named = ("training-data", "--type", "dpo", *dataset, "--group", "g")
    assert run(server, target, *named).exit_code == 2
    assert run(server, target, "training-data", "--type", "labels").exit_code == 2
    assert server.asked == []
