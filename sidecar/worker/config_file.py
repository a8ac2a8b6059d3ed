"""What does `proxy_config.yaml` say now, and has it changed since?"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecar.core.errors import Invalid

MAX_BYTES = 8 * 1024 * 1024  # the largest real configurations have some hundred kilobytes

Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, inode, time of change in ns and size of each file; all 0 for one that is absent."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration as it was read.

    Args:
        files: The file itself, and those it includes.
        values: Parsed, with the included ones merged; None when that failed.
        error: Why it failed.
    """

    files: tuple[Path, ...]
    values: Mapping[str, Any] | None
    error: str | None


def stamp_of(files: tuple[Path, ...]) -> Stamp:
    """Take the stamp that changes whenever one of the files does."""
    stamps = []
    for path in files:
        try:
            stat = path.stat()
            stamps.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            stamps.append((str(path), 0, 0, 0))
    return tuple(stamps)


def read_config(path: Path) -> ConfigFile:
    """Read a configuration and what it includes, as LiteLLM does.

    Each file's lists are added to those of the files before; any other value replaces the
    one before. A file is read once, whoever includes it.
    """
    files: list[Path] = []
    waiting = [Path(os.path.abspath(path))]  # noqa: PTH100  (see `_included`)
    merged: dict[str, Any] = {}
    try:
        while waiting:
            current = waiting.pop(0)
            if current in files:
                continue
            files.append(current)
            found = _parse(current)
            waiting += _included(found, current)
            merged = _merged(merged, found)
    except Invalid as error:
        return ConfigFile(tuple(files), None, str(error))
    return ConfigFile(tuple(files), merged, None)


def _parse(path: Path) -> dict[str, Any]:
    """Parse one file.

    Raises:
        Invalid: It cannot be read, is no YAML, or is no mapping. The message quotes no line
            of it: a key may stand there.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            msg = f"{path.name} has more than {MAX_BYTES} bytes"
            raise Invalid(msg)
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise Invalid(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path.name} is not UTF-8 (byte {error.start})"
        raise Invalid(msg) from error
    except yaml.YAMLError as error:
        msg = f"{path.name} is no YAML{_where(error)}"
        raise Invalid(msg) from error
    except (RecursionError, ValueError) as error:  # too deep; a date such as 2026-13-40
        msg = f"{path.name} cannot be parsed: {type(error).__name__}"
        raise Invalid(msg) from error
    if not isinstance(found, dict):
        kind = "nothing" if found is None else type(found).__name__
        msg = f"{path.name} must hold a mapping with a model_list, found {kind}"
        raise Invalid(msg)
    return found


def _where(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ""
    mark = error.problem_mark
    return f": {error.problem} in line {mark.line + 1}, column {mark.column + 1}"


def _included(found: Mapping[str, Any], declared_in: Path) -> list[Path]:
    """List the files that a file includes, by paths relative to it.

    Raises:
        Invalid: `include` is no list of paths.
    """
    names = found.get("include", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"'include' in {declared_in.name} must be a list of file paths"
        raise Invalid(msg)
    # Not `resolve`: Kubernetes swaps a link to change a file, and a link must stay one.
    return [Path(os.path.abspath(declared_in.parent / name)) for name in names]  # noqa: PTH100


def _merged(base: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in added.items():
        before = result.get(key)
        both = isinstance(before, list) and isinstance(value, list)
        result[key] = [*before, *value] if both and before is not None else value
    return result
