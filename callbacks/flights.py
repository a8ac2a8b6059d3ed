"""What is known of a call while it is under way?"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from callbacks.payload.reply import Reply
from callbacks.payload.request import Asked
from sidecar.core.calls import Attempt
from sidecar.core.routing import Assignment, Group, Unit

MAX_FLIGHTS = 20_000  # above this, the oldest are calls whose end LiteLLM never told


@dataclass(slots=True)
class Flight:
    """A call between its arm and its record.

    Args:
        began: Monotonic seconds at arrival.
        first_chunk: Monotonic seconds at the first chunk; None before, or unstreamed.
        offered: The deployments the last try could choose from.
        attempts: Failed tries, as far as the router told when it asked for the next.
        logged: LiteLLM's own account, when that came before the end of the call.
        answer: What was answered, when its id is not yet the one that the client will get.
    """

    call_id: str
    started_at: datetime
    began: float
    asked: Asked
    project_id: str
    key_id: str | None
    group: Group
    unit: Unit
    assignment: Assignment
    generation: int
    first_chunk: float | None = None
    offered: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    logged: Reply | None = None
    answer: Reply | None = None


class Flights:
    """The calls under way in this process."""

    def __init__(self, limit: int = MAX_FLIGHTS) -> None:
        """Begin with none."""
        self._flights: OrderedDict[str, Flight] = OrderedDict()
        self._limit = limit

    def add(self, flight: Flight) -> None:
        """Remember a call; beyond the limit the oldest is forgotten."""
        self._flights[flight.call_id] = flight
        if len(self._flights) > self._limit:
            self._flights.popitem(last=False)

    def get(self, call_id: str | None) -> Flight | None:
        """Look a call up."""
        return self._flights.get(call_id) if call_id else None

    def end(self, call_id: str | None) -> Flight | None:
        """Take a call out: only the first to ask gets it, so it is recorded once."""
        return self._flights.pop(call_id, None) if call_id else None
