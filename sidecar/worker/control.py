"""Who looks at the experiments, and acts? A loop of which one at a time is in charge.

It takes a look at every active experiment whenever calls or feedback arrived, and every few
seconds without, for time alone can end an experiment. What it decides is committed together
with what follows from it; then it asks for publishing, and notes the generation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.errors import SignalopsError
from sidecar.service import looking
from sidecar.store.database import transaction

log = structlog.get_logger(__name__)

TICK_S = 0.5  # a broken canary must not have long; what is new costs one small statement
LOOK_EVERY = timedelta(seconds=5)
RETRY_S = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """How control stands.

    Args:
        in_charge: Whether this process took the last looks; another may.
        looked_at: When it last did.
        looks, actions: Since the start.
        error: Why the last round failed; None when it did not.
    """

    in_charge: bool = False
    looked_at: datetime | None = None
    looks: int = 0
    actions: int = 0
    error: str | None = None
    failures: int = 0


class Controller:
    """The control loop of one sidecar, and what it knows."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Callable[[], datetime],
        publish: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Know nothing yet.

        Args:
            clock: Gives the present moment, aware.
            publish: Brings routes out at once; None where another process publishes, and
                sees the change by itself.
        """
        self._engine = engine
        self._clock = clock
        self._publish = publish
        self._seen: dict[str, str] = {}  # what each experiment's last look rested on
        self._looked_at: dict[str, datetime] = {}
        self._noted_at: datetime | None = None
        self._news: dict[str, str] = {}
        self.status = ControlStatus()

    async def run(self, stop: asyncio.Event) -> None:
        """Look and act until `stop` is set; what has begun is finished first."""
        failed = 0  # rounds in a row
        while not stop.is_set():
            failed = 0 if await self.round() else failed + 1
            wait_s = RETRY_S[min(failed, len(RETRY_S)) - 1] if failed else TICK_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()

    async def round(self) -> bool:
        """Look at every experiment that has news, or was not looked at for a while.

        Returns:
            Whether all went well.
        """
        error = await self._attempt(self._find_news())
        noted_at, now = self._noted_at, self._clock()
        if noted_at is None or abs(now - noted_at) >= LOOK_EVERY:
            error = await self._attempt(self._note_generations()) or error
        for experiment_id in self._due():
            # The others come next all the same: what ails one may not ail them.
            error = await self._attempt(self._look(experiment_id)) or error
        failures = self.status.failures + (error is not None)
        self.status = replace(self.status, error=error, failures=failures)
        return error is None

    async def _find_news(self) -> None:
        async with transaction(self._engine) as tx:
            self._news = await looking.news(tx)

    def _due(self) -> list[str]:
        """Name the experiments to look at now."""
        now = self._clock()
        return [
            each
            for each, stamp in self._news.items()
            if self._seen.get(each) != stamp
            # Either way: the clock may have been set back.
            or abs(now - self._looked_at[each]) >= LOOK_EVERY
        ]

    async def _attempt(self, work: Awaitable[None]) -> str | None:
        """Do some work; returns why that failed, or None."""
        try:
            await work
        except SignalopsError as error:
            log.warning("control.round.failed", error=str(error))
            return str(error)
        except Exception as error:  # one bad look must not end the loop
            log.exception("control.round.failed")
            return f"unexpected {type(error).__name__}"
        return None

    async def _look(self, experiment_id: str) -> None:
        now = self._clock()
        async with transaction(self._engine) as tx:
            looked = await looking.look(tx, experiment_id, now)
        self._seen[experiment_id] = self._news[experiment_id]
        self._looked_at[experiment_id] = now
        if looked is None:  # another process is in charge, or the experiment has just ended
            self.status = replace(self.status, in_charge=False)
            return
        self.status = replace(
            self.status,
            in_charge=True,
            looked_at=now,
            looks=self.status.looks + 1,
            actions=self.status.actions + looked.has_acted,
        )
        if not looked.has_acted:
            return
        log.info(
            "experiment.decide.done",
            experiment=experiment_id,
            state=looked.state,
            reasons=list(looked.reasons),
        )
        if self._publish is not None:
            await self._publish()
        await self._note_generations()

    async def _note_generations(self) -> None:
        """Note which routes decisions led to: a person's too, and what others publish."""
        now = self._clock()
        async with transaction(self._engine) as tx:
            await looking.note_generation(tx)
        self._noted_at = now
