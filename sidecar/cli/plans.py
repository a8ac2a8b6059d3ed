"""How is a plan read that somebody wrote into a file?"""

import json
from pathlib import Path
from typing import Any

import yaml

from sidecar.cli.client import MISTYPED, stop


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan file; whether it makes sense is for the API to say."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"the plan {path} cannot be read: {type(error).__name__}"
        raise stop(msg, MISTYPED) from error
    if not isinstance(found, dict):
        msg = f"the plan {path} must be a mapping, found {type(found).__name__}"
        raise stop(msg, MISTYPED)
    return dict(json.loads(json.dumps(found, default=str)))
