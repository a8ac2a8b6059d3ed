"""How is a plan read that somebody wrote into a file?"""

import json
from pathlib import Path
from typing import Any

import yaml

from sidecar.cli.client import MISTYPED, stop

_UNREADABLE = (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError)


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan file; whether it makes sense is for the API to say."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        # Strictly, as it is sent: dates become text, but NaN, circles and lone surrogates
        # are in YAML and not in JSON.
        text = json.dumps(found, default=str, allow_nan=False, ensure_ascii=False)
        plan = json.loads(text.encode())
    except _UNREADABLE as error:
        msg = f"the plan {path} cannot be read: {_why(error)}"
        raise stop(msg, MISTYPED) from error
    if not isinstance(plan, dict):
        msg = f"the plan {path} must be a mapping, found {type(plan).__name__}"
        raise stop(msg, MISTYPED)
    return plan


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return f"it holds what a plan cannot ({type(error).__name__})"
