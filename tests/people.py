"""People who say something of drafts, without the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.calls import CallRecord
from sidecar.core.feedback import Source
from sidecar.core.pairs import KnownPair, PairFilter, PairSummary
from sidecar.core.said import Said
from sidecar.service import feedback, preferences
from sidecar.store.database import transaction
from sidecar.store.events import By
from tests.drafts import draft_record, drain_records


def said(call_id: str, reviewer: str = "ann", **more: Any) -> Said:
    """Say something unasked."""
    return Said(call_id=call_id, source=Source.CORRECTION, reviewer=reviewer, **more)


@dataclass
class People:
    """Drafts, and what people say of them."""

    engine: AsyncEngine
    folder: Path
    now: datetime

    async def draft(
        self, text: str | None = "Thank you.", post: str = "a post", **more: Any
    ) -> str:
        return await self.stored(draft_record(self.now, text, post, **more))

    async def drafts(self, texts: Sequence[str], **more: Any) -> list[str]:
        """Store drafts, each for a post of its own unless there is a request in `more`."""
        made = [draft_record(self.now, text, f"{text} asked", **more) for text in texts]
        return await drain_records(self.engine, self.folder, made)

    async def stored(self, record: CallRecord) -> str:
        [call_id] = await drain_records(self.engine, self.folder, [record])
        return call_id

    async def say(self, call_id: str, reviewer: str = "ann", **more: Any) -> feedback.Given:
        async with transaction(self.engine) as tx:
            return await feedback.give(
                tx, said(call_id, reviewer, **more), project_id=None, by=By("admin", self.now)
            )

    async def say_all(self, words: Sequence[Said]) -> list[feedback.Given | feedback.Refused]:
        async with transaction(self.engine) as tx:
            return await feedback.give_all(tx, words, project_id=None, by=By("admin", self.now))

    async def pairs(self, **only: Any) -> list[KnownPair]:
        async with transaction(self.engine) as tx:
            found, _ = await preferences.page(tx, PairFilter(**only))
        return found

    async def current(self) -> list[tuple[str, str]]:
        """List the texts of current pairs, oldest first."""
        found = await self.pairs(is_current=True)
        return [(pair.chosen, pair.rejected) for pair in reversed(found)]

    async def summary(self) -> PairSummary:
        async with transaction(self.engine) as tx:
            return await preferences.summary(tx, None)
