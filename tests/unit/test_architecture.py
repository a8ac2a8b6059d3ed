"""The house rules that no linter knows."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for room in ("sidecar", "callbacks", "migrations")
    for path in (ROOT / room).rglob("*.py")
]
TESTS = list((ROOT / "tests").rglob("*.py"))

# A hook that raises rejects a customer's request; one bad entry or job must not stop a
# loop. Each of these logs and counts what it catches.
MAY_CATCH_EVERYTHING = {
    "callbacks/deployments.py",
    "callbacks/handler.py",
    "sidecar/api/app.py",
    "sidecar/up/runner.py",
    "sidecar/worker/control.py",
    "sidecar/worker/drain.py",
    "sidecar/worker/publish.py",
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_is_longer_than_300_lines() -> None:
    long = {
        named(p): n for p in SOURCES + TESTS if (n := len(p.read_text().splitlines())) > 300
    }
    assert long == {}


def test_only_the_listed_files_catch_everything() -> None:
    catching = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
                catching.add(named(path))
    assert catching <= MAY_CATCH_EVERYTHING, catching - MAY_CATCH_EVERYTHING


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    # One that only passes the exception on catches nothing.
    raises = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
    broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    return broad and not raises


def test_only_payload_knows_litellms_keys() -> None:
    keys = re.compile(
        r"_hidden_params|litellm_params\"|proxy_server_request|previous_models|litellm_metadata"
    )
    allowed = {"callbacks/payload", "callbacks/traffic.py", "sidecar/core", "sidecar/up"}
    knowing = {named(path) for path in SOURCES if keys.search(path.read_text())}
    assert {name for name in knowing if not name.startswith(tuple(allowed))} == set()


def test_unit_tests_use_fakes_at_a_seam_and_no_patches() -> None:
    patches = re.compile(r"mock\.patch|mocker\.|monkeypatch\.setattr|@patch\(")
    unit = [path for path in TESTS if path.parent.name == "unit" and path != Path(__file__)]
    assert [named(path) for path in unit if patches.search(path.read_text())] == []
