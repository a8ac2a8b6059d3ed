"""How does the journal keep flowing into PostgreSQL? A loop that never gives up.

It drains every segment to its present end, then sleeps a little. While the database is away
it tries again, ever more slowly; the journal keeps what it cannot store yet.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.errors import SignalopsError
from sidecar.handoff.journal import read_chunk, segments
from sidecar.service.drain import Draining, drain_segment
from sidecar.service.enrichments import settle_late
from sidecar.service.partitions import make_room
from sidecar.service.quarantine import QuarantineRefused
from sidecar.service.reconciliation import bury_dead_workers
from sidecar.service.volume import Volume

log = structlog.get_logger(__name__)

IDLE_S = 0.2
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
# What need not be done every time: dead workers, late enrichments, next month's room.
HOUSEKEEPING_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """How draining stands.

    Args:
        lag_bytes: Of the journal, not drained at the end of the last round.
        error: Why the last round failed; None when it did not.
        succeeded_at: When a round last came through.
        failures: Rounds that failed since the start.
        quarantined: Lines put aside since the start.
    """

    lag_bytes: int = 0
    error: str | None = None
    succeeded_at: datetime | None = None
    failures: int = 0
    quarantined: int = 0


class Drainer:
    """The drain loop of one sidecar, and what it knows.

    Any number of them may drain the same volume.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        volume: Path,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Know nothing yet.

        Args:
            volume: The directory that proxy and sidecar share.
            clock: Gives the present moment, aware.
        """
        self._engine = engine
        self._volume = Volume(volume)
        self._clock = clock
        self._draining = Draining(engine, self._volume, clock)
        self._drained: dict[str, int] = {}  # offsets by segment, as far as we know
        self._keep_house_at: datetime | None = None
        self._is_away = False  # the database: the rest of a round would wait in vain
        self.status = DrainStatus()

    async def run(self, stop: asyncio.Event) -> None:
        """Drain until `stop` is set; a transaction that has begun is finished first."""
        failed = 0  # rounds in a row
        while not stop.is_set():
            failed = 0 if await self.round(stop) else failed + 1
            wait_s = RETRY_S[min(failed, len(RETRY_S)) - 1] if failed else IDLE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()

    async def round(self, stop: asyncio.Event) -> bool:
        """Drain every segment to its present end.

        Returns:
            Whether all went well.
        """
        error: str | None = None
        self._is_away = False
        found = await asyncio.to_thread(segments, self._volume.journal)
        self._drained = {path.name: self._drained.get(path.name, 0) for path in found}
        for segment in found:
            if stop.is_set() or self._is_away:
                break
            # The others come next all the same: what ails one may not ail them.
            error = await self._attempt(segment.name, self._drain(segment)) or error
        if not self._is_away:
            error = await self._attempt("housekeeping", self._keep_house()) or error
        self._note(error, await asyncio.to_thread(self._lag, found))
        return error is None

    async def _drain(self, segment: Path) -> None:
        start = self._drained[segment.name]
        if not await asyncio.to_thread(_has_news, segment, start):
            return
        position = await drain_segment(self._draining, segment, start)
        self._drained[segment.name] = position.drained_bytes
        if position.quarantined:
            log.warning(
                "drain.lines.quarantined", segment=segment.name, lines=position.quarantined
            )
            total = self.status.quarantined + position.quarantined
            self.status = replace(self.status, quarantined=total)

    async def _keep_house(self) -> None:
        """Do what need not be done every time."""
        now = self._clock()
        if self._keep_house_at is not None and now < self._keep_house_at:
            return
        await bury_dead_workers(self._engine, self._volume, now)
        await settle_late(self._engine, now)
        await make_room(self._engine, now)
        self._keep_house_at = now + HOUSEKEEPING_EVERY

    async def _attempt(self, what: str, work: Awaitable[None]) -> str | None:
        """Do some work; returns why that failed, or None."""
        try:
            await work
        except SignalopsError as error:
            self._is_away = not isinstance(error, QuarantineRefused)
            event = "drain.database.unavailable" if self._is_away else "drain.lines.refused"
            log.warning(event, during=what, error=str(error))
            return str(error)
        except Exception as error:  # noqa: BLE001 - one segment must not stop the others
            # Its message may quote a prompt: the class has to do.
            log.error("drain.work.failed", during=what, error=type(error).__name__)  # noqa: TRY400
            return f"unexpected {type(error).__name__}"
        return None

    def _note(self, error: str | None, lag_bytes: int) -> None:
        if error is None:
            if self.status.error is not None:
                log.info("drain.round.recovered", failures=self.status.failures)
            changed = replace(self.status, error=None, succeeded_at=self._clock())
        else:
            changed = replace(self.status, error=error, failures=self.status.failures + 1)
        self.status = replace(changed, lag_bytes=lag_bytes)

    def _lag(self, found: list[Path]) -> int:
        lag = 0
        for segment in found:
            with suppress(FileNotFoundError):
                lag += max(0, segment.stat().st_size - self._drained[segment.name])
        return lag


def _has_news(segment: Path, drained: int) -> bool:
    """Whether a segment has more than was drained, or has ended.

    Asked before the database is: most of the time there is nothing.
    """
    try:
        if segment.stat().st_size != drained:
            return True
        return read_chunk(segment, start=drained, max_bytes=1).is_last
    except FileNotFoundError:  # another drain has finished it
        return False
