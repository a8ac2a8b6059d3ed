"""Who starts the processes of `signalops up` in order, and leaves none behind?

    with Keeper(home.log_of("keeper")) as keeper:
        with Supervisor(stop, on_event=show, keeper=keeper) as supervisor:
            supervisor.launch(sidecar)  # returns once it is ready
            supervisor.launch(proxy)
            supervisor.wait()  # until `stop` is set, by a signal handler for one

Each child is kept running by a `Runner` of its own; this class only knows their order.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from sidecar.up.child import Child, Event, ignore
from sidecar.up.guard import Keeper
from sidecar.up.runner import GRACE_S, Runner, wait_until_ready

CHECK_KEEPER_S = 1.0


class Service(Protocol):
    """Anything that runs until it is stopped: a `Runner`, an `EmbeddedPostgres`."""

    @property
    def name(self) -> str:
        """What people call it."""

    def stop(self, grace_s: float = ...) -> None:
        """End it and wait until it is gone."""


class Supervisor:
    """The running children, in order of their start; ends them in reverse.

    Args:
        stop: Set when everything is to end; also ends waiting for a child's readiness.
        on_event: Hears what happens to each child, from that child's own thread.
        keeper: Told of every process group, so that nothing outlives a `kill -9` of us.
        grace_s: How long a child may take to end before it is killed.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        on_event: Callable[[Event], None] = ignore,
        keeper: Keeper | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._stop = stop
        self._on_event = on_event
        self._keeper = keeper
        self._grace_s = grace_s
        self._services: list[Service] = []

    def launch(self, child: Child, *, ready_within_s: float = 60.0) -> bool:
        """Start a child, keep it running from now on, and wait until it is ready.

        Returns:
            Whether it is ready; False only when `stop` was set while waiting.

        Raises:
            NotReady: It took too long or keeps exiting. It is kept running all the same,
                until `close`.
        """
        runner = Runner(child, on_event=self._on_event, guard=self._keeper)
        runner.start()
        self._services.append(runner)
        return wait_until_ready(runner, limit_s=ready_within_s, stop=self._stop)

    def adopt(self, service: Service) -> None:
        """Take over the ending of something that is started already."""
        self._services.append(service)

    def wait(self) -> None:
        """Wait until `stop` is set."""
        while not self._stop.wait(CHECK_KEEPER_S):
            if self._keeper is not None:
                self._keeper.ensure()

    def close(self) -> None:
        """End everything, last started first, and wait until all of it is gone."""
        self._stop.set()
        while self._services:
            self._services[-1].stop(self._grace_s)
            self._services.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        self.close()
