"""What of a configuration may leave the sidecar? All but the keys that stand in it.

`routes.json` and the database get the configuration in the form made here: JSON, and with
a mark in place of every literal secret. References such as `os.environ/NAME` stay.
"""

import math
import re
from collections.abc import Mapping
from datetime import date

from sidecar.core.errors import Invalid

REFERENCE = "os.environ/"
REDACTED = "redacted"
MAX_DEPTH = 40  # real configurations have about six levels

# `max_tokens` and `input_cost_per_token` are no secrets.
_SECRET = re.compile(
    r"api[_-]?key|access[_-]?key|private[_-]?key|secret|password|passphrase|credential"
    r"|authorization|(?<!per_)token$",
    re.IGNORECASE,
)
_LOGIN_IN_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def plain(value: object, where: str = "the configuration", depth: int = 0) -> object:
    """Return a parsed YAML value as JSON has it; dates become text.

    Raises:
        Invalid: It holds what JSON or PostgreSQL cannot, or has no end (an anchor that
            refers to itself).
    """
    if depth > MAX_DEPTH:
        msg = f"{where} is nested more than {MAX_DEPTH} levels deep"
        raise Invalid(msg)
    if isinstance(value, str):
        return _storable(value, where)
    if isinstance(value, Mapping):
        return {
            _storable(str(key), where): plain(item, f"{where}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{where} must be a finite number, found {value}"
        raise Invalid(msg)
    if value is None or isinstance(value, bool | int | float):
        return value
    msg = f"{where} must be text, a number, a list or a mapping, found {type(value).__name__}"
    raise Invalid(msg)


def has_secret(value: object, *, named: bool = False) -> bool:
    """Whether a secret, or the mark of one, stands in a value literally.

    Args:
        value: As `plain` returns it.
        named: Its name says that it is a secret.
    """
    if isinstance(value, Mapping):
        return any(
            has_secret(item, named=named or _is_name(key)) for key, item in value.items()
        )
    if isinstance(value, list):
        return any(has_secret(item, named=named) for item in value)
    return _is_secret(value, named=named)


def redacted(value: object, *, named: bool = False) -> object:
    """Put a mark in place of every literal secret; `has_secret` still sees it as one.

    Args:
        value: As `plain` returns it.
        named: Its name says that it is a secret.
    """
    if isinstance(value, Mapping):
        return {k: redacted(item, named=named or _is_name(k)) for k, item in value.items()}
    if isinstance(value, list):
        return [redacted(item, named=named) for item in value]
    if not _is_secret(value, named=named):
        return value
    return REDACTED if named else _LOGIN_IN_ADDRESS.sub(rf"\1{REDACTED}@", str(value))


def _is_name(key: object) -> bool:
    return _SECRET.search(str(key)) is not None


def _is_secret(value: object, *, named: bool) -> bool:
    if isinstance(value, bool) or value is None or value == "":
        return False
    if not isinstance(value, str):
        return named  # a password may be all digits
    if value.startswith(REFERENCE):
        return False
    return named or _LOGIN_IN_ADDRESS.match(value) is not None


def _storable(text: str, where: str) -> str:
    if _UNSTORABLE.search(text):
        msg = f"{where} holds a NUL or half of a surrogate pair"
        raise Invalid(msg)
    return text
