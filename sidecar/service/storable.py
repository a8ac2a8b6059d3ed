"""What can a column of PostgreSQL hold, and what takes the place of what it cannot?

Text and `jsonb` know neither NUL nor lone surrogates; the exact request and answer are kept
as bytes, which know everything.
"""

import json
import math
import re

from sidecar.service.documents import encode_exactly
from sidecar.store.calls import COLUMNS, JSON_COLUMNS, Row

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_JSON = frozenset(COLUMNS.index(name) for name in JSON_COLUMNS)
_TOO_MANY = 2**63


def storable_row(row: Row) -> Row:
    """Replace what the columns of `calls` cannot hold; a number that is none becomes null."""
    return tuple(
        _storable_document(value) if place in _JSON else _storable(value)
        for place, value in enumerate(row)
    )


def storable_json(value: object) -> object:
    """Replace what `jsonb` cannot hold; a number that is none becomes null."""
    if isinstance(value, dict):
        return {str(_storable(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable_json(item) for item in value]
    return _storable(value)


def is_count(value: object) -> bool:
    """Whether a `bigint` column can hold it as a count, or it is null."""
    if value is None:
        return True
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _TOO_MANY


def is_finite(value: object) -> bool:
    """Whether it is a number that counts for something, or null."""
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _storable_document(encoded: object) -> str:
    return encode_exactly(storable_json(json.loads(str(encoded)))).decode()


def _storable(value: object) -> object:
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT, value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
