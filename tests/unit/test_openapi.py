"""The admin API's description is part of its contract.

When a change is meant: `RENEW_OPENAPI=1 pytest tests/unit/test_openapi.py`, and read the diff.
"""

import json
import os
from functools import cache
from pathlib import Path

from pydantic import SecretStr

from sidecar.api.app import create_app
from sidecar.api.settings import Settings

SNAPSHOT = Path(__file__).with_name("openapi.json")


@cache
def described() -> str:
    settings = Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1/none"),
        admin_key=SecretStr("so-not-a-real-key"),
    )
    return json.dumps(create_app(settings).openapi(), indent=1, sort_keys=True) + "\n"


def test_the_description_is_the_one_that_was_agreed_on() -> None:
    found = described()
    if os.environ.get("RENEW_OPENAPI"):
        SNAPSHOT.write_text(found)
    assert found == SNAPSHOT.read_text()


def test_every_operation_says_what_it_does() -> None:
    for path, methods in json.loads(described())["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)
