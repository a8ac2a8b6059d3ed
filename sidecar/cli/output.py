"""How is an answer shown? Tables that fit 100 columns, times in UTC, or plain JSON."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100  # where there is no terminal to ask

# What a model or a user wrote must not steer the terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
NOTHING = "-"


def show_json(answer: object) -> None:
    """Print an answer as JSON, for programs."""
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under columns.

    Args:
        columns: One that begins with `>` is aligned right, one with `=` is never broken.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.lstrip(">="),
            justify="right" if column.startswith(">") else "left",
            no_wrap=column.startswith("="),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(text_of(cell)) for cell in row))
    _console().print(table)


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, Text(text_of(value)))
    _console().print(table)


def say(message: str = "") -> None:
    """Print a line of text."""
    _console().print(Text(clean(message)), soft_wrap=True)


def tell(message: str) -> None:
    """Print sentences, broken between words to fit the terminal."""
    _console().print(Text(clean(message)))


def complain(message: str) -> None:
    """Print what is wrong, to standard error."""
    Console(stderr=True).print(Text(clean(message), style="red"), soft_wrap=True)


def text_of(value: object) -> str:
    """Write a value as people read it."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(str(k))} {text_of(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return clean(str(value))


def clean(text: str) -> str:
    """Replace what would steer a terminal, or what it cannot write."""
    shown = _CONTROL.sub("\ufffd", text)
    return shown.encode("utf-8", "replace").decode()


def time_of(moment: str | None) -> str:
    """Write a moment in UTC, to the second."""
    if moment is None:
        return NOTHING
    at = datetime.fromisoformat(moment).astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def percent(share: float | None) -> str:
    """Write a probability, to the hundredth of a percent at most."""
    return NOTHING if share is None else f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"


def shares_of(shares: Mapping[str, float]) -> str:
    """Write an experiment's shares."""
    return ", ".join(f"{clean(arm)} {percent(share)}" for arm, share in shares.items())


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with a thousands separator."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def dollars(value: float | None) -> str:
    """Write a cost; what is unknown is not free."""
    return NOTHING if value is None else f"${value:,.4f}"


def ordered(counts: Mapping[str, Any]) -> str:
    """Write counts, the most frequent first."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{clean(name)} {count:,}" for name, count in most) or NOTHING


def _console() -> Console:
    plain = Console()
    return plain if plain.is_terminal else Console(width=WIDTH)
