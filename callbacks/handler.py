"""Which of LiteLLM's hooks do we use?

A guest in the proxy: every hook is one `try` around one decision, because an exception
here would be the client's error. The only exceptions that leave are refusals we mean.
LiteLLM calls hooks by keyword, so the parameters keep its names.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from callbacks.access import Denial
from callbacks.auth import refusal
from callbacks.deployments import Deployments, Router
from callbacks.flights import Flight
from callbacks.payload.reply import Reply, read_logged
from callbacks.payload.request import stamp_of_logged
from callbacks.payload.stream import StreamCutError, StreamReader
from callbacks.traffic import Traffic
from callbacks.worker import Worker
from sidecar.core.cold_start import cold_start


class Handler(CustomLogger):
    """The hooks."""

    def __init__(self, worker: Worker, router: Callable[[], Router | None]) -> None:
        """Begin to look for routes.

        Args:
            worker: This process's routes, journal and counts.
            router: Gives LiteLLM's router, or None while the proxy is starting.
        """
        super().__init__()
        self._worker = worker
        self._router = router
        self._traffic = Traffic(worker, has_cache=lambda: litellm.cache is not None)
        self._deployments = Deployments()
        self._loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # imported outside a proxy, there is no loop
            self._loop = asyncio.get_running_loop()
        worker.start(self._routes_wait)

    async def async_pre_call_hook(
        self,
        user_api_key_dict: object,
        cache: object,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any]:
        """Give the call its arm, and put our mark on it."""
        try:
            self._adopt_routes()
            return self._traffic.take_off(user_api_key_dict, data, call_type)
        except Denial as denial:
            raise refusal(denial) from denial
        except Exception as error:  # LiteLLM rejects the request if this hook raises.
            self._worker.failed("call.route", error)
            return data

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: object,  # noqa: ARG002
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: object = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Offer only the deployments that may serve this try."""
        try:
            return self._traffic.choose(model, healthy_deployments, request_kwargs)
        except Exception as error:
            self._worker.failed("call.filter", error)
            return healthy_deployments

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: object,  # noqa: ARG002
        response: object,
        request_headers: object = None,  # noqa: ARG002
    ) -> dict[str, str] | None:
        """Tell the client which call, experiment and arm this was.

        Nothing changes the answer after this hook, so one that waited is recorded here.
        """
        try:
            told = self._traffic.headers(data, response)
        except Exception as error:
            self._worker.failed("call.headers", error)
            told = None
        self._record_sealed(data, response)
        return told

    async def async_post_call_success_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: object,  # noqa: ARG002
        response: object,
    ) -> None:
        """Record a whole answer before the client has it."""
        try:
            flight = self._traffic.flight(data)
            self._traffic.answered(flight, data, response)
        except Exception as error:
            self._worker.failed("call.record", error)

    async def async_post_call_streaming_iterator_hook(
        self,
        user_api_key_dict: object,  # noqa: ARG002
        response: AsyncIterator[object],
        request_data: dict[str, Any],
    ) -> AsyncIterator[object]:
        """Pass a stream on, and record it before its end reaches the client."""
        flight, reader = self._flight_of(request_data), StreamReader()

        def land(broken: BaseException | None) -> None:
            try:
                read = lambda: reader.reply(response)  # noqa: E731
                self._traffic.land(flight, request_data, read, broken=broken, streaming=True)
            except Exception as error:
                self._worker.failed("call.record_stream", error)

        try:
            async for chunk in response:
                if self._completes(chunk, flight, reader):
                    land(None)
                yield chunk
        except BaseException as error:
            land(error)
            raise
        land(self._cut(reader))

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: object,  # noqa: ARG002
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """Record a call that ended in an error."""
        try:
            flight = self._traffic.flight(request_data)
            self._traffic.land(flight, request_data, Reply, broken=original_exception)
        except Exception as error:
            self._worker.failed("call.record_failure", error)

    async def async_log_success_event(
        self,
        kwargs: dict[str, Any],
        response_obj: object,
        start_time: object,  # noqa: ARG002
        end_time: object,  # noqa: ARG002
    ) -> None:
        """Add what LiteLLM knows only now: the cost and tokens of a stream."""
        try:
            call_id = stamp_of_logged(kwargs)
            if self._traffic.awaits(call_id):
                self._traffic.enrich(call_id, read_logged(kwargs, response_obj))
        except Exception as error:
            self._worker.failed("call.enrich", error)

    def _record_sealed(self, data: dict[str, Any], response: object) -> None:
        try:
            self._traffic.sealed(self._traffic.flight(data), data, response)
        except Exception as error:
            self._worker.failed("call.record", error)

    def _flight_of(self, data: dict[str, Any]) -> Flight | None:
        try:
            return self._traffic.flight(data)
        except Exception as error:
            self._worker.failed("call.find", error)
            return None

    def _completes(self, chunk: object, flight: Flight | None, reader: StreamReader) -> bool:
        """Keep a piece; whether a client that has it takes the answer for complete."""
        if flight is not None and flight.first_chunk is None:
            flight.first_chunk = time.monotonic()
        try:
            reader.feed(chunk)
            return reader.is_final(chunk)
        except Exception as error:
            self._worker.failed("call.read_piece", error)
            return False

    def _cut(self, reader: StreamReader) -> StreamCutError | None:
        """Say whether a stream that is over was cut off, though LiteLLM passed that over."""
        try:
            return None if reader.is_whole() else StreamCutError()
        except Exception as error:
            self._worker.failed("call.read_end", error)
            return None

    def _routes_wait(self) -> None:
        """Have the event loop take up new routes; called in the looking thread."""
        with suppress(RuntimeError):  # the loop is closed: the process is going down
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._adopt_routes_safely)

    def _adopt_routes_safely(self) -> None:
        try:
            self._adopt_routes()
        except Exception as error:
            self._worker.failed("routes.adopt", error)

    def _adopt_routes(self) -> None:
        """Take up routes that wait; in the event loop, where the router may be changed."""
        router = self._router()
        if router is None:
            return
        if (table := self._worker.pending) is not None:
            failed = self._deployments.apply(table, router)
            self._worker.gauges.set("unapplied", len(failed))
            self._worker.use(table)
        elif not self._worker.table.groups:
            config = {
                "model_list": router.model_list,
                "router_settings": {"model_group_alias": router.model_group_alias},
            }
            self._worker.use(cold_start(config, now=datetime.now(UTC)))
