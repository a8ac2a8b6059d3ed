"""Calls of drafters, with what was asked and answered, stored by the real drain."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import Answer, CallRecord
from sidecar.handoff.journal import Journal
from sidecar.service.documents import encode_exactly
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.volume import Volume
from tests.records import judge_record

GROUP = "reply"
_writers = itertools.count()


def draft_record(
    now: datetime, text: str | None = "Thank you.", post: str = "a post", **more: Any
) -> CallRecord:
    """Make the record of an answered drafter's call that takes part in no experiment.

    Args:
        text: What was generated; None for no text.
        post: What was asked, unless `more` has a `request`.
        more: Other fields of the record, as `replace` takes them.
    """
    plain = {
        "requested_model": GROUP,
        "group": GROUP,
        "task": "draft",
        "labels": (),
        "experiment_id": None,
        "served_deployment": "reply-a",
        "provider_model": "drafter-1",
        "request": {"model": GROUP, "messages": [{"role": "user", "content": post}]},
        "answer": Answer(text=text),
    }
    return replace(judge_record(now), **{**plain, **more})


async def drain_records(
    engine: AsyncEngine, folder: Path, records: Sequence[CallRecord]
) -> list[str]:
    """Journal records and drain them.

    Returns:
        Their call ids.
    """
    volume = Volume(folder / "drafts")
    name = f"drafter-{next(_writers)}"
    journal = Journal(volume.journal, writer=name, segment_bytes=2**40)
    for record in records:
        line = record.to_line()
        try:
            journal.append(orjson.dumps(line))
        except orjson.JSONEncodeError:  # half of a surrogate pair, as a client may send it
            journal.append(encode_exactly(line))
    journal.close()
    draining = Draining(engine, volume, lambda: datetime.now(UTC))
    position = await drain_segment(draining, volume.journal / f"{name}-00000001.jsonl")
    if not position.is_gone or position.quarantined:
        msg = f"not all of the records were drained: {position}"
        raise RuntimeError(msg)
    return [record.call_id for record in records]
