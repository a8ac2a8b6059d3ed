"""What happens to a call between its arrival and its record?

The handler's hooks call these; here nothing is caught, so that what goes wrong is seen.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from callbacks.access import MASTER, check_model
from callbacks.flights import Flight, Flights
from callbacks.payload.failure import read_attempts, status_of
from callbacks.payload.reply import (
    Reply,
    Usage,
    noted_deployment,
    read_id,
    read_reply,
    served_deployment,
)
from callbacks.payload.request import (
    Asked,
    caller_of,
    deployment_id,
    excluded_of,
    isolate_cache,
    read_request,
    stamp,
    stamp_of,
    stamped_headers,
    strip_controls,
    unit_of,
)
from callbacks.recording import decided_of, record_of
from callbacks.worker import Worker
from sidecar.core.assignment import PRIMARY, ranges
from sidecar.core.calls import Enrichment, new_call_id
from sidecar.core.routing import Arm, Group, Task, decide, eligible

MAX_OWED = 20_000  # calls whose cost LiteLLM may still tell; it drops some of its events


class Traffic:
    """The calls of one proxy worker."""

    def __init__(self, worker: Worker, *, has_cache: Callable[[], bool]) -> None:
        """Begin with no call under way.

        Args:
            has_cache: Whether LiteLLM keeps a response cache.
        """
        self._worker = worker
        self._has_cache = has_cache
        self._flights = Flights()
        self._owed: OrderedDict[str, Reply] = OrderedDict()

    def take_off(self, key: object, data: dict[str, Any], call_type: str) -> dict[str, Any]:
        """Give a call its arm and put our mark on it.

        Returns:
            A changed copy; `data` is as it was, should anything fail.

        Raises:
            Denial: The key may not ask for that model, or there is none of the name.
        """
        asked, caller, table = read_request(data, call_type), caller_of(key), self._worker.table
        if not asked.model:
            return data  # files and batches: no model is asked for, nothing to route
        group = check_model(
            asked.model,
            table=table,
            permitted=caller.get("models") or (),
            trusted=not caller or caller.get("key_id") == MASTER.key_id,
        ) or _unsplit(asked.model)
        flight = self._flight(asked, caller, group, generation=table.generation)
        changed = dict(data)
        strip_controls(changed, set(table.groups) | set(table.aliases))
        if group.is_split and self._has_cache():
            isolate_cache(changed, f"{group.experiment_id}:{flight.assignment.arm}")
        stamp(changed, flight.call_id, _told(flight))
        self._flights.add(flight)
        self._worker.begin(flight.call_id, decided_of(flight))
        return changed

    def choose(
        self, model: str, healthy: list[dict[str, Any]], data: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        """Keep the deployments that may serve this try of a call."""
        flight = self._flights.get(stamp_of(data))
        group = self._worker.table.group(model)
        if flight is not None and flight.group.name == model:
            group, arm = flight.group, flight.assignment.arm
        elif flight is not None and group is not None:
            arm = decide(group, flight.unit).arm  # the YAML's fallback to another group
        else:
            arm = PRIMARY
        if group is None:
            return healthy
        ids = {deployment_id(deployment): deployment for deployment in healthy}
        attempts = read_attempts(data or {})
        tried = excluded_of(data or {}).union(attempt.deployment for attempt in attempts)
        chosen = eligible(group, arm, healthy=ids.keys(), tried=tried)
        offer = healthy if chosen is None else [ids[name] for name in ids if name in chosen]
        if flight is not None:
            flight.offered = tuple(map(deployment_id, offer))
            flight.attempts = attempts or flight.attempts
        return offer

    def headers(self, data: Mapping[str, Any], response: object) -> dict[str, str] | None:
        """Say what the client is told of its call."""
        told = stamped_headers(data)
        if not told:
            return None
        served = None
        if response is not None:
            flight = self._flights.get(stamp_of(data))
            served = _served(flight, served_deployment(response), data)
        return told | ({"x-signalops-served-by": served} if served else {})

    def answered(
        self, flight: Flight | None, data: Mapping[str, Any], response: object
    ) -> None:
        """Record a whole answer; of the Responses API, once the client's id for it is known.

        LiteLLM gives the client another id than the provider's, and does so after this.
        """
        if flight is not None and flight.asked.surface == "responses":
            flight.answer = read_reply(response)
        else:
            self.land(flight, data, lambda: read_reply(response))

    def sealed(self, flight: Flight | None, data: Mapping[str, Any], response: object) -> None:
        """Record an answer that has waited for its id, the last thing that changes in it."""
        if flight is not None and (answer := flight.answer) is not None:
            self.land(flight, data, lambda: replace(answer, response_id=read_id(response)))

    def flight(self, data: Mapping[str, Any]) -> Flight | None:
        """Find the call under way that a hook is about."""
        return self._flights.get(stamp_of(data))

    def land(
        self,
        flight: Flight | None,
        data: Mapping[str, Any],
        read: Callable[[], Reply],
        *,
        broken: BaseException | None = None,
        streaming: bool = False,
    ) -> None:
        """Record the end of a call, once.

        Args:
            flight: None for a call that is not ours.
            read: Reads the answer, as far as there is one.
            broken: What ended the call, when it was not answered whole.
            streaming: Whether it ended while its answer was being streamed.
        """
        if flight is None or self._flights.end(flight.call_id) is None:
            return
        self._worker.gauges.add("finished")
        answered = read()
        deployment = _served(flight, answered.deployment, data)
        reply = self._priced(_merged(replace(answered, deployment=deployment), flight.logged))
        record = record_of(
            flight,
            reply,
            attempts=read_attempts(data, broken) or flight.attempts,
            ended=time.monotonic(),
            broken=broken,
            status=_status(flight, broken, streaming=streaming),
        )
        self._worker.record(flight.call_id, record.to_line())
        if broken is None and (reply.cost_usd is None or reply.usage.prompt is None):
            self._owed[flight.call_id] = reply
            if len(self._owed) > MAX_OWED:
                self._owed.popitem(last=False)

    def awaits(self, call_id: str | None) -> bool:
        """Whether there is something that LiteLLM's own account of a call could add."""
        return call_id in self._owed or self._flights.get(call_id) is not None

    def enrich(self, call_id: str | None, logged: Reply) -> None:
        """Add what LiteLLM knows only after the answer has left."""
        if (flight := self._flights.get(call_id)) is not None:
            flight.logged = logged
        recorded = self._owed.pop(call_id, None) if call_id else None
        if call_id is None or recorded is None:
            return
        priced = self._priced(logged)
        cost = priced.cost_usd if recorded.cost_usd is None else None
        usage = priced.usage if recorded.usage.prompt is None else Usage()
        if cost is not None or usage.prompt is not None:
            line = Enrichment(call_id, cost, usage.prompt, usage.completion, usage.cached)
            self._worker.append(line.to_line())

    def _flight(
        self, asked: Asked, caller: Mapping[str, Any], group: Group, *, generation: int
    ) -> Flight:
        now = datetime.now(UTC)
        call_id = new_call_id(now)
        unit = unit_of(asked, group.unit, call_id=call_id)
        waited = max(0.0, time.time() - asked.arrived_at)
        return Flight(
            call_id=call_id,
            # To the millisecond, as the id carries it.
            started_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            began=time.monotonic() - waited,
            asked=asked,
            project_id=str(caller.get("project_id") or MASTER.project_id),
            key_id=caller.get("key_id"),
            group=group,
            unit=unit,
            assignment=decide(group, unit),
            generation=generation,
        )

    def _priced(self, reply: Reply) -> Reply:
        """Keep a cost of 0 only where the deployment says that it is free.

        LiteLLM reckons 0 for tokens it has no price for, and unknown is not free.
        """
        if reply.cost_usd != 0 or self._is_free(reply.deployment):
            return reply
        return replace(reply, cost_usd=None)

    def _is_free(self, deployment: str | None) -> bool:
        entry = self._worker.table.entries.get(deployment or "", {})
        stated = [entry.get("litellm_params"), entry.get("model_info")]
        prices = [
            part["input_cost_per_token"]
            for part in stated
            if isinstance(part, Mapping) and part.get("input_cost_per_token") is not None
        ]
        return bool(prices) and not any(prices)


def _unsplit(model: str) -> Group:
    """Stand in for the group of a model that a wildcard of the YAML matches."""
    return Group(model, Task.OTHER, (Arm(PRIMARY, 10_000, ()),), ranges({PRIMARY: 10_000}))


def _told(flight: Flight) -> dict[str, str]:
    """Give the response headers that are known from the start."""
    told = {
        "x-signalops-call-id": flight.call_id,
        "x-signalops-arm": flight.assignment.arm,
        "x-signalops-generation": str(flight.generation),
    }
    if flight.group.experiment_id is not None:
        told["x-signalops-experiment"] = flight.group.experiment_id
    return told


def _served(flight: Flight | None, response: str | None, data: Mapping[str, Any]) -> str | None:
    """Say who answered.

    Args:
        response: What the response says of itself. A stream that failed over before its
            first chunk still names the deployment that failed (messages, LiteLLM 1.106.2);
            then it was the one that could be tried next.
    """
    noted = response or noted_deployment(data)
    if flight is None or len(flight.offered) != 1:
        return noted
    failed = any(attempt.deployment == noted for attempt in flight.attempts)
    return flight.offered[0] if noted is None or failed else noted


def _merged(reply: Reply, logged: Reply | None) -> Reply:
    """Fill in from an early log event what the answer itself did not say."""
    if logged is None:
        return reply
    return replace(
        reply,
        cost_usd=logged.cost_usd if reply.cost_usd is None else reply.cost_usd,
        usage=logged.usage if reply.usage.prompt is None else reply.usage,
    )


def _status(flight: Flight, broken: BaseException | None, *, streaming: bool) -> int | None:
    """Give the HTTP status the client saw; None for a stream that began and broke."""
    if broken is None:
        return 200
    # A stream of the Responses API says 200 first, whatever comes of it.
    said_200 = flight.first_chunk is not None or flight.asked.surface == "responses"
    left = not isinstance(broken, Exception)
    return None if streaming and (said_200 or left) else status_of(broken)
