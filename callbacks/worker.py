"""What does one proxy worker know and keep? Its routes, its journal, its counts.

A thread looks for new routes, so that they arrive whether or not requests do; what it
finds is swapped in whole, and a request sees one table from beginning to end.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import orjson

from sidecar.core.errors import Invalid
from sidecar.core.routing import RoutingTable
from sidecar.handoff.aloft import Aloft
from sidecar.handoff.gauges import Gauges
from sidecar.handoff.journal import Journal, JournalFull, JournalLost
from sidecar.handoff.routes import FILE_NAME, RoutesReader

log = logging.getLogger("signalops")

POLL_S = 0.2  # an edit is to be live within a second; this leaves room for the publisher
EMPTY = RoutingTable(0, "", {}, {}, {}, {})


class Worker:
    """One process of the proxy: what passes between it and the sidecar."""

    def __init__(self, volume: Path, *, fsync: bool = False) -> None:
        """Lay the gauges; nothing is read or written before `start` and the first call.

        Args:
            volume: The directory that proxy and sidecar share.
            fsync: Wait for the disk at every record.
        """
        started_ns = time.time_ns()
        # The moment tells apart two processes that get the same pid.
        self.writer = f"{socket.gethostname()}-{os.getpid()}-{started_ns:x}"
        self.gauges = Gauges(
            volume / "workers", writer=self.writer, pid=os.getpid(), started_ns=started_ns
        )
        self._aloft = Aloft(volume / "workers", writer=self.writer, started_ns=started_ns)
        self._journal = Journal(volume / "journal", writer=self.writer, fsync=fsync)
        self._reader = RoutesReader(volume / FILE_NAME)
        self._thread: threading.Thread | None = None
        self.table = EMPTY
        self.pending: RoutingTable | None = None

    def start(self, on_routes: Callable[[], None]) -> None:
        """Begin to look for routes; safe to call again.

        Args:
            on_routes: Called in the looking thread when new routes wait in `pending`.
        """
        if self._thread is None:
            self.look()
            self._thread = threading.Thread(
                target=self._keep_looking, args=(on_routes,), name="signalops", daemon=True
            )
            self._thread.start()

    def look(self) -> bool:
        """Look once whether routes were published; True when new ones wait in `pending`."""
        try:
            found = self._reader.poll()
        except (Invalid, OSError) as error:
            self.failed("routes.read", error)
            return False
        self.pending = found or self.pending
        return found is not None

    def newest(self) -> RoutingTable:
        """Return the table published last, whether it is in use yet or not.

        For keys: they come before any hook of ours, in a worker that has just begun too.
        """
        if self.pending is None and self.table.generation == 0:
            self.look()
        return self.pending or self.table

    def use(self, table: RoutingTable) -> None:
        """Take a table into use: the requests from now on are routed by it."""
        self.table, self.pending = table, None
        self.gauges.set("generation", table.generation)

    def begin(self, call_id: str, stamp: Mapping[str, Any]) -> None:
        """Leave a trace of a call that has begun, in case that this process is killed.

        Args:
            stamp: The fields of its record that are known already.
        """
        self.gauges.add("decided")
        if not self._aloft.stamp(call_id, encode(stamp)):
            self.gauges.add("traceless")

    def record(self, call_id: str, line: Mapping[str, Any]) -> None:
        """Journal the record of a call, and count it."""
        if self.append(line):
            self.gauges.add("journalled")
            # What waits in memory dies with us: then the trace is all that is left.
            if not self._journal.backlog:
                self._aloft.clear(call_id)

    def append(self, line: Mapping[str, Any]) -> bool:
        """Journal a line; a refusing disk is counted, not raised.

        Returns:
            Whether the line is kept: on disk, or waiting for it.
        """
        try:
            self._journal.append(encode(line))
        except JournalLost:
            self.gauges.add("lost")
            log.exception("journal.append.lost")
            return False
        except JournalFull:
            log.warning("journal.append.waiting lines=%d", self._journal.backlog)
        self.gauges.set("waiting", self._journal.backlog)
        return True

    def failed(self, where: str, error: BaseException) -> None:
        """Count and log an exception of ours that a client must not feel."""
        self.gauges.add("errors")
        # The class alone: a message could quote a prompt.
        log.error("%s.failed error=%s", where, type(error).__name__)

    def _keep_looking(self, on_routes: Callable[[], None]) -> None:
        while True:
            time.sleep(POLL_S)
            self._aloft.beat(time.time_ns())
            if self.look() or self.pending is not None:
                on_routes()
            self._settle_backlog()

    def _settle_backlog(self) -> None:
        """Write what a full disk refused, once it has room again."""
        if self._journal.backlog:
            self._journal.flush()
            self.gauges.set("waiting", self._journal.backlog)


def encode(line: Mapping[str, Any]) -> bytes:
    """Encode a record as one line of JSON."""
    try:
        return orjson.dumps(line)
    except TypeError:
        # Lone surrogates and integers beyond 64 bits, which orjson refuses.
        return json.dumps(line, default=_json_value).encode()


def _json_value(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
