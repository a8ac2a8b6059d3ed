"""What tests of datasets do: store drafts, say something of them, build, read the rows."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.apis import Sidecar
from tests.drafts import draft_record, drain_records

WORDS = (
    "brick",
    "cloud",
    "daisy",
    "ember",
    "fjord",
    "grape",
    "heron",
    "ivory",
    "jolly",
    "koala",
)
Rows = Callable[[str], Awaitable[list[Any]]]


def post_of(number: int) -> str:
    """Write a post that is like no other; below 10,000."""
    digits = enumerate(f"{number:04}")
    return " ".join(WORDS[int(digit)] * (1 + place) for place, digit in digits)


@dataclass
class Builder:
    """A project whose people work on drafts."""

    api: Sidecar
    engine: AsyncEngine
    folder: Path
    now: datetime
    rows: Rows

    async def drafts(self, count: int, first: int = 0, **more: Any) -> list[str]:
        """Store so many drafts, each of its own unit and post."""
        records = [
            draft_record(
                self.now,
                f"Draft {number}.",
                post_of(number),
                **{"unit_id": f"u-{number}", **more},
            )
            for number in range(first, first + count)
        ]
        return await drain_records(self.engine, self.folder, records)

    async def say(self, words: Sequence[dict[str, Any]]) -> None:
        """Give feedback, all of which is taken."""
        answer = await self.api.admin.post("/v1/feedback", json={"items": list(words)})
        answer.raise_for_status()
        if any("error" in item for item in answer.json().get("items", [])):
            raise ValueError(answer.text)

    async def edit(self, calls: Sequence[str], reviewer: str = "ann") -> None:
        """Have every draft edited."""
        words = [
            {"call_id": call_id, "edit": f"Better {number}.", "reviewer": reviewer}
            for number, call_id in enumerate(calls)
        ]
        await self.say(words)

    async def build(self, kind: str = "dpo", **spec: Any) -> dict[str, Any]:
        """Build a dataset."""
        answer = await self.api.admin.post("/v1/datasets", json={"kind": kind, **spec})
        if not answer.is_success:
            raise ValueError(answer.text)
        return dict(answer.json())

    async def rows_of(self, dataset: dict[str, Any]) -> list[Any]:
        """Read a dataset's rows, in order."""
        columns = "split, call_id, label, prompt, chosen, rejected, is_good"
        only = f"number = {dataset['number']}"
        query = f"SELECT {columns} FROM dataset_rows WHERE {only} ORDER BY position"  # noqa: S608
        return await self.rows(query)
