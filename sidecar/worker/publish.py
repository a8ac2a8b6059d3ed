"""How do changes reach the proxy? A loop that watches, publishes, and never gives up.

It looks at the YAML and at the audit, makes a new generation when either moved, and writes
`routes.json`. Whatever is wrong with the YAML or the database, the old routes stay.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.errors import Invalid, SignalopsError
from sidecar.core.routing import RoutingTable
from sidecar.handoff.routes import FILE_NAME, RoutesReader, write_routes
from sidecar.service import routes
from sidecar.service.routes import NothingPublished
from sidecar.store import events
from sidecar.store.database import transaction
from sidecar.worker.config_file import ConfigFile, Stamp, read_config, stamp_of

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0  # how long a change waits to be published before it is answered
TICK_S = 0.1  # an edit is live within a second; the proxy's own look takes up to 0.2 s
MARKER_EVERY_S = 0.5  # how soon a change made through another sidecar is seen
RETRY_S = (0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class PublishStatus:
    """How publishing stands.

    Args:
        generation: In the file; 0 when none was written yet.
        published_at: When the file was last written.
        config_error: Why the YAML is not in force; None when it is.
        error: Why the last try failed for another reason, such as a database outage.
        waiting: Shares in basis points the YAML asks for, by groups it does not own now.
        failures: Tries that failed since the start.
    """

    generation: int = 0
    hash: str = ""
    published_at: datetime | None = None
    config_error: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    waiting: Mapping[str, Mapping[str, int]] | None = None
    failures: int = 0

    @property
    def has_decided(self) -> bool:
        """Whether there are routes, or a reason that only an edit of the YAML removes."""
        return self.generation > 0 or self.config_error is not None


class Publisher:
    """The publish loop of one sidecar, and what it knows."""

    def __init__(
        self,
        engine: AsyncEngine,
        config_path: Path,
        volume: Path,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Know nothing yet.

        Args:
            config_path: LiteLLM's `proxy_config.yaml`.
            volume: The directory that proxy and sidecar share.
            clock: Gives the present moment, aware.
        """
        self._engine = engine
        self._config_path = config_path.absolute()
        self._path = volume / FILE_NAME
        self._clock = clock
        self._config = ConfigFile((self._config_path,), None, None)
        self._seen: Stamp | None = None  # of the configuration that was read
        self._changing: Stamp | None = None  # of one that may still be being written
        self._good: Mapping[str, Any] | None = None  # the last that was published
        self._written: Stamp | None = None  # of routes.json as we wrote it
        self._marker = -1  # of the audit, when it was last published
        self._marker_at = 0.0  # when to look at it again
        self._wanted = 1  # counts what asked for publishing
        self._done = 0  # how many of these the last publishing took into account
        self._woken = asyncio.Event()
        self._finished = asyncio.Condition()  # notified when `_done` has risen
        self._retry_at = 0.0
        self._tries = 0
        self.status = PublishStatus()

    async def publish_now(self, within_s: float = PATIENCE_S) -> bool:
        """Ask for publishing, and wait until what is committed by now is in the file.

        Returns:
            Whether it is; False when that takes longer, which happens in an outage.
        """
        self._wanted += 1
        wanted = self._wanted
        self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._finished:
                await self._finished.wait_for(lambda: self._done >= wanted)
        return self._done >= wanted

    async def run(self, stop: asyncio.Event) -> None:
        """Publish whatever changes until `stop` is set."""
        while not stop.is_set():
            if time.monotonic() >= self._retry_at:
                await self._attempt()
            await self._wait()

    async def _wait(self) -> None:
        """Wait for the next tick, or until somebody asks for publishing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._woken.wait()
        self._woken.clear()

    async def _attempt(self) -> None:
        """Look around once; after a failure, the next look comes a little later."""
        try:
            await self._look()
        except Exception as error:  # whatever it was, keys must still be revoked later
            known = isinstance(error, SignalopsError | OSError)
            message = str(error) if known else f"unexpected {type(error).__name__}"
            self._note(error=message, failures=self.status.failures + 1)
            self._retry_at = time.monotonic() + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
            self._tries += 1
            log.error("routes.publish.failed", error=message, exc_info=not known)  # noqa: TRY400
        else:
            self._tries = 0
            if self.status.error is not None:
                self._note(error=None)

    async def _look(self) -> None:
        """Publish if the YAML, the audit or `routes.json` is not as it was."""
        await self._look_at_files()
        now = time.monotonic()
        if now >= self._marker_at:
            await self._look_at_marker()
            self._marker_at = now + MARKER_EVERY_S
        if self._done < self._wanted:
            await self._publish()

    async def _look_at_files(self) -> None:
        """Read the YAML once it has changed and stands still; miss a lost `routes.json`."""
        if stamp_of((self._path,)) != self._written:
            self._want()
        stamp = stamp_of(self._config.files)
        if stamp == self._seen:
            return
        if self._seen is not None and stamp != self._changing:
            self._changing = stamp  # an editor may be in the middle of it
            return
        read = await asyncio.to_thread(read_config, self._config_path)
        # When it includes other files than before, their stamps are still to be taken.
        self._seen = stamp if read.files == self._config.files else None
        self._config = read
        self._changing = None
        self._wanted += 1

    async def _look_at_marker(self) -> None:
        async with transaction(self._engine) as tx:
            if await events.latest(tx) != self._marker:
                self._want()

    def _want(self) -> None:
        self._wanted = max(self._wanted, self._done + 1)

    async def _publish(self) -> None:
        """Publish the YAML as it is; if that cannot be, as it last could."""
        wanted = self._wanted  # what is asked for in the meantime comes next
        try:
            await self._publish_config()
        except Invalid as error:
            if self.status.config_error != str(error):
                log.warning("config.read.refused", error=str(error))
            self._note(config_error=str(error))
            await self._publish_last()
        self._done = wanted
        async with self._finished:
            self._finished.notify_all()

    async def _publish_config(self) -> None:
        if self._config.values is None:
            raise Invalid(self._config.error or "the configuration was not read yet")
        await self._bring_out(self._config.values)
        self._good = self._config.values
        self._note(config_error=None)

    async def _publish_last(self) -> None:
        """Publish by the last good YAML: experiments and keys must not wait for an editor."""
        try:
            await self._bring_out(self._good)
        except NothingPublished:
            log.info("routes.publish.waiting")
            self._written = stamp_of((self._path,))

    async def _bring_out(self, config: Mapping[str, Any] | None) -> None:
        async with transaction(self._engine) as tx:
            done = await routes.publish(tx, config, self._clock())
        # The file after the commit: a generation that a worker runs is always on record.
        await asyncio.to_thread(self._write, done.table)
        self._marker = done.marker
        self._note(warnings=done.warnings, waiting=done.waiting)

    def _write(self, table: RoutingTable) -> None:
        """Write the file, unless it is as we left it and says the same."""
        says = (table.generation, table.hash)
        if stamp_of((self._path,)) != self._written or says != self._published:
            if self._on_disk() != says:
                write_routes(self._path, table)
                log.info("routes.publish.done", generation=table.generation)
            self._written = stamp_of((self._path,))
        if says != self._published:
            self._note(generation=says[0], hash=says[1], published_at=self._clock())

    @property
    def _published(self) -> tuple[int, str]:
        return self.status.generation, self.status.hash

    def _on_disk(self) -> tuple[int, str] | None:
        try:
            table = RoutesReader(self._path).poll()
        except (Invalid, OSError):
            return None  # it is broken, and will be written anew
        return None if table is None else (table.generation, table.hash)

    def _note(self, **changes: Any) -> None:  # noqa: ANN401  (fields of the status)
        self.status = replace(self.status, **changes)
