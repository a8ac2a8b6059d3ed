"""How do a project's judgments leave: what judges were asked, said, and should have said?

The holdout's stay, for a judge that has learned from them cannot be evaluated on them.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.datasets import HOLDOUT, InsufficientData
from sidecar.core.errors import Invalid, NotFound
from sidecar.core.prompts import parts, prompt_of
from sidecar.core.splits import Shares, is_held_out
from sidecar.integrations import parquet
from sidecar.service.documents import decode, encode
from sidecar.service.exporting import JSONL, PARQUET, Export
from sidecar.service.requests import parts_of, whole
from sidecar.service.spooling import read, size_of, spooled
from sidecar.store import datasets, exporting
from sidecar.store.database import transaction
from sidecar.store.exporting import JudgmentFilter

# A table's columns; a prompt may hold what no column can, so there it is its JSON.
COLUMNS = {
    "call_id": "text",
    "started_at": "text",
    "group": "text",
    "arm": "text",
    "model": "text",
    "label": "text",
    "confidence": "float",
    "reasoning": "text",
    "failure": "text",
    "human_label": "text",
    "reviewers": "int",
    "prompt": "text",
    "tools": "text",
    "answer": "text",
}
_NULL = b"null"
_SURROGATE = re.compile("[\ud800-\udfff]")


class JudgmentFormat(StrEnum):
    """What judgments can be exported as."""

    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    engine: AsyncEngine
    only: JudgmentFilter
    form: JudgmentFormat
    shares: Shares
    counts: _Counts = field(default_factory=_Counts)


async def export(
    engine: AsyncEngine, only: JudgmentFilter, form: JudgmentFormat
) -> tuple[Export, int]:
    """Gather the judgments in a temporary file, for their number is known only then.

    Returns:
        What to send, and how many judgments of the holdout were left out.

    Raises:
        Invalid: The time range ends before it begins.
        InsufficientData: There are none.
        Unavailable: PostgreSQL, or what writes Parquet, is.
    """
    if only.since is not None and only.until is not None and only.since >= only.until:
        msg = f"since must be before until, found {only.since} and {only.until}"
        raise Invalid(msg)
    is_table = form is JudgmentFormat.PARQUET
    if is_table:
        parquet.check_installed()
    async with transaction(engine) as tx:
        largest = await datasets.largest_holdout(tx, only.project_id)
    holdout = max(HOLDOUT, largest or 0.0)
    work = _Work(engine, only, form, Shares(only.project_id, "", 0.0, holdout))
    file = await spooled(_lines(work), COLUMNS if is_table else None)
    if not work.counts.rows:
        file.close()
        msg = f"there is no judgment to export ({work.counts.held_out} are of the holdout)"
        raise InsufficientData(msg)
    name, media = ("judgments.parquet", PARQUET) if is_table else ("judgments.jsonl", JSONL)
    sent = Export(read(file), work.counts.rows, size_of(file), name, media)
    return sent, work.counts.held_out


async def _lines(work: _Work) -> AsyncIterator[bytes]:
    after = ""
    while True:
        async with transaction(work.engine) as tx:
            await exporting.be_patient(tx)
            found = await exporting.judgments(tx, work.only, after)
            if not found:
                return
            after = found[-1]["call_id"]
            kept = [one for one in found if not is_held_out(_unit(one), work.shares)]
            known = await parts_of(tx, (bytes(one["request"]) for one in kept))
        work.counts.held_out += len(found) - len(kept)
        lines = [line for one in kept if (line := _line(one, known, work.form)) is not None]
        work.counts.rows += len(lines)
        yield b"".join(lines)


def _unit(found: RowMapping) -> str:
    return str(found["unit_id"] or found["call_id"])


def _line(
    found: RowMapping, known: Mapping[bytes, bytes], form: JudgmentFormat
) -> bytes | None:
    """Write a judgment; None when retention took parts of its request just now."""
    values = {
        "call_id": found["call_id"],
        "started_at": found["started_at"].isoformat(),
        "group": found["group_name"],
        "arm": found["assigned_arm"],
        "model": found["provider_model"],
        "label": found["verdict_label"],
        "confidence": found["verdict_confidence"],
        "reasoning": found["verdict_reasoning"],
        "failure": found["verdict_failure"],
        "human_label": found["human_label"],
        "reviewers": found["reviewers"],
    }
    try:
        prompt, tools = _prompt(found, known)
    except NotFound:
        return None
    answer = _answer(bytes(found["answer"]))
    texts: Sequence[bytes] = (prompt, tools, answer)
    if form is JudgmentFormat.PARQUET:
        texts = (*(_as_text(part) for part in (prompt, tools)), _replaced(answer))
    return b'%b,"prompt":%b,"tools":%b,"answer":%b}\n' % (encode(values)[:-1], *texts)


def _as_text(part: bytes) -> bytes:
    """Give JSON as a text that holds it."""
    return part if part == _NULL else encode(part.decode())


def _replaced(text: bytes) -> bytes:
    """Put U+FFFD for halves of surrogate pairs: a column is UTF-8, which has none.

    One such answer must not keep the others from their table.
    """
    if b"\\ud" not in text:  # only an escape can carry one
        return text
    found = cast("str", decode(text)[0])
    return encode(_SURROGATE.sub("\ufffd", found))


def _prompt(found: RowMapping, known: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Give the prompt's messages and tools; null for what is not there."""
    request, write = whole(bytes(found["request"]), known)
    prompt = prompt_of(found["surface"], request)
    if prompt is None:
        return _NULL, _NULL
    messages, tools = parts(prompt, write)
    return messages, _NULL if tools is None else tools


def _answer(stored: bytes) -> bytes:
    answer, write = decode(stored)
    return write(cast("Mapping[str, Any]", answer).get("text"))
