"""How does a file of feedback get to the API? Some hundred lines at a time, each named."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
)

from sidecar.cli.client import Api

LINES_AT_ONCE = 500
BYTES_AT_ONCE = 8_000_000  # with room below what the API takes at once

Line = tuple[int, dict[str, Any]]
"""A line's number, from 1, and what it says."""


@dataclass(slots=True)
class Imported:
    """What became of a file's lines.

    Args:
        kept: Of these, `new` were not said before.
        refused: The line's number, and the problem as the API tells it.
    """

    kept: int = 0
    new: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, problem: dict[str, Any]) -> None:
        """Note that a line was refused."""
        self.refused.append({"line": line, "problem": problem})


def send_lines(api: Api, path: str, file: IO[bytes], reviewer: str) -> Imported:
    """Send the lines of a file, and show how far it is.

    Args:
        reviewer: Of the lines that name none.

    Raises:
        typer.Exit: The API cannot be reached or refuses all; lines sent before are kept.
    """
    done = Imported()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        lines = file.readlines()
        task = progress.add_task("feedback", total=len(lines))
        for batch in _batches(_read(lines, reviewer, done)):
            answer = api.post(path, {"items": [item for _, item in batch]})
            _note(answer["items"], [number for number, _ in batch], done)
            progress.update(task, completed=batch[-1][0])
        progress.update(task, completed=len(lines))
    done.refused.sort(key=lambda refused: int(refused["line"]))
    return done


def _note(items: list[dict[str, Any]], numbers: list[int], done: Imported) -> None:
    for item in items:
        if "problem" in item:
            done.refuse(numbers[item["index"]], item["problem"])
        else:
            done.kept += 1
            done.new += item["is_new"]


def _read(lines: Iterable[bytes], reviewer: str, done: Imported) -> Iterator[tuple[Line, int]]:
    """Read the lines that say something, each with its size in bytes; blank ones say nothing.

    What cannot even be sent is refused here.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line, parse_constant=_refuse)
            json.dumps(item, ensure_ascii=False).encode()  # fails on half a surrogate pair
        except (ValueError, RecursionError) as error:
            done.refuse(number, _unreadable(error))
            continue
        if isinstance(item, dict):
            item = {"reviewer": reviewer, **item}
        yield (number, item), len(line)


def _batches(lines: Iterable[tuple[Line, int]]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    room = BYTES_AT_ONCE
    for line, size in lines:
        if batch and (size > room or len(batch) >= LINES_AT_ONCE):
            yield batch
            batch, room = [], BYTES_AT_ONCE
        batch.append(line)
        room -= size
    if batch:
        yield batch


def _refuse(constant: str) -> object:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _unreadable(error: Exception) -> dict[str, Any]:
    """Tell in the API's form why a line was not sent; what it says is left out."""
    why = "half of a surrogate pair" if isinstance(error, UnicodeEncodeError) else "no JSON"
    return {
        "type": "urn:signalops:invalid",
        "title": "Invalid",
        "status": 422,
        "detail": f"the line holds {why}",
    }
