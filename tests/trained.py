"""Datasets to export in tests and benchmarks, stored as the builder stores them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.datasets import Kind, Row, Split
from sidecar.store import datasets
from sidecar.store.database import transaction
from sidecar.store.datasets import NewDataset

SYSTEM = "You are terse. Ünïcödé «quotes» \u2028 and 日本語 \U0001f600"


def as_json(value: object) -> bytes:
    """Write a value as the sidecar does."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def prompt(number: int) -> list[dict[str, str]]:
    """Make a prompt that no other number has."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f'Question {number}\n with "quotes", \\ and \t'},
    ]


def row(kind: Kind, number: int, split: Split = Split.TRAIN) -> Row:
    """Make a row of a kind."""
    is_kto = kind is Kind.KTO
    return Row(
        prompt=as_json(prompt(number)),
        tools=None,
        chosen=as_json(f"Good answer {number} \U0001f600\n"),
        rejected=as_json(f"Bad answer {number}") if kind is Kind.DPO else None,
        is_good=number % 3 == 0 if is_kto else None,
        label=None,
        split=split,
        call_id=f"call-{number}",
    )


def rows(kind: Kind, train: int, validation: int = 0, holdout: int = 0) -> list[Row]:
    """Make rows of all splits, mixed."""
    splits = [Split.TRAIN] * train + [Split.VALIDATION] * validation + [Split.HOLDOUT] * holdout
    made = [row(kind, number, split) for number, split in enumerate(splits)]
    return sorted(made, key=lambda one: one.prompt[::-1])


async def keep(
    engine: AsyncEngine,
    kind: Kind,
    found: Sequence[Row],
    now: datetime,
    *,
    name: str = "ds-1",
    holdout: float = 0.1,
) -> str:
    """Store a dataset of these rows; returns its id."""
    counts = {split.value: sum(one.split == split for one in found) for split in Split}
    new = NewDataset(
        id=name,
        hash=name,
        project_id="default",
        kind=kind.value,
        spec={"holdout": holdout},
        manifest={"rows": counts},
        created_at=now,
        created_by="tests",
    )
    async with transaction(engine) as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 0"))
        number = await datasets.add(tx, new)
        assert number is not None
        await datasets.begin(tx)
        items = range(len(found))
        await datasets.gather(tx, items, found)
        await datasets.place(tx, number, items, [one.split for one in found])
    return name


def with_prompt(one: Row, messages: Iterable[object]) -> Row:
    """Replace a row's prompt."""
    return replace(one, prompt=as_json(list(messages)))
