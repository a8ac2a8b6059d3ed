"""LiteLLM's own objects through our hooks: what is routed and recorded, and that none hurts."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

from callbacks.handler import Handler
from callbacks.worker import Worker
from sidecar.core.assignment import ranges
from sidecar.core.routing import (
    Arm,
    Group,
    RoutingTable,
    Task,
    Unit,
    UnitSource,
    decide,
)
from sidecar.handoff.journal import read_chunk, segments
from tests.payloads import Stream

# LiteLLM's own types make pydantic warn when the first of them is used.
pytestmark = pytest.mark.filterwarnings("ignore:Items? .* on TypedDict class:UserWarning")

SHARES = {"primary": 5_000, "canary": 5_000}
ARMS = (Arm("primary", 5_000, ("p",)), Arm("canary", 5_000, ("c",)))
JUDGE = Group(
    "judge", Task.JUDGE, ARMS, ranges(SHARES), ("yes", "no"), experiment_id="e", salt="s"
)
SOLO = Group("solo", Task.OTHER, (Arm("primary", 10_000, ()),), ranges({"primary": 10_000}))
TABLE = RoutingTable(4, "h", {"judge": JUDGE, "solo": SOLO}, {}, {"p": {}, "c": {}}, {})
HEALTHY = [{"model_info": {"id": "p"}}, {"model_info": {"id": "c"}}]
CANARY_UNIT = next(
    unit.id
    for unit in (Unit(f"u{number}", UnitSource.HEADER) for number in range(100))
    if decide(JUDGE, unit).arm == "canary"
)
KEY = UserAPIKeyAuth(
    metadata={"signalops": {"key_id": "k1", "project_id": "mine", "models": ["judge"]}}
)
RUBBISH: list[Any] = [
    None,
    "text",
    7,
    [],
    {},
    {"metadata": None},
    {"metadata": [], "model": "judge"},
    {"metadata": {"signalops": "x"}, "model": None},
    {"proxy_server_request": "x", "model": "judge"},
    {"proxy_server_request": {"arrival_time": "noon"}, "model": "judge"},
]
rubbish = pytest.mark.parametrize("sent", RUBBISH, ids=repr)


class Proxy:
    """A handler with its volume, and the hooks as LiteLLM calls them: by keyword."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.worker = Worker(volume)
        self.worker.use(TABLE)
        self.handler = Handler(self.worker, lambda: None)

    @property
    def errors(self) -> int:
        return self.worker.gauges.value("errors")

    def recorded(self) -> list[dict[str, Any]]:
        found = segments(self.volume / "journal")
        chunks = [read_chunk(segment, start=0, max_bytes=1 << 20) for segment in found]
        return [json.loads(line) for chunk in chunks for line in chunk.lines]

    async def ask(self, model: str = "judge", key: object = KEY, **body: Any) -> dict[str, Any]:
        sent = {"model": model, "messages": [], **body}
        headers = {"x-signalops-unit": CANARY_UNIT}
        arrived = {"body": sent, "headers": headers, "arrival_time": 1.0}
        return await self.pre_call({**sent, "proxy_server_request": arrived}, key)

    async def pre_call(self, data: Any, key: object = KEY) -> Any:
        return await self.handler.async_pre_call_hook(
            user_api_key_dict=key, cache=None, data=data, call_type="acompletion"
        )

    async def offered(self, data: Any, healthy: Any, model: Any = "judge") -> Any:
        return await self.handler.async_filter_deployments(
            model=model,
            healthy_deployments=healthy,
            messages=None,
            request_kwargs=data,
            parent_otel_span=None,
        )

    async def headers(self, data: Any, response: object) -> Any:
        return await self.handler.async_post_call_response_headers_hook(
            data=data, user_api_key_dict=KEY, response=response, request_headers=None
        )

    async def answered(self, data: Any, response: object) -> None:
        await self.handler.async_post_call_success_hook(
            data=data, user_api_key_dict=KEY, response=response
        )

    def stream(self, data: Any, response: Any) -> AsyncIterator[object]:
        return self.handler.async_post_call_streaming_iterator_hook(
            user_api_key_dict=KEY, response=response, request_data=data
        )

    async def failed(self, data: Any, error: Any) -> None:
        await self.handler.async_post_call_failure_hook(
            request_data=data,
            original_exception=error,
            user_api_key_dict=KEY,
            traceback_str=None,
        )

    async def logged(self, kwargs: Any, response: object) -> None:
        await self.handler.async_log_success_event(
            kwargs=kwargs, response_obj=response, start_time=None, end_time=None
        )


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    return Proxy(tmp_path)


def answer(text: str = "yes", deployment: str = "c") -> litellm.ModelResponse:
    message = {"role": "assistant", "content": text}
    made = litellm.ModelResponse(
        model="provider-model",
        choices=[{"index": 0, "finish_reason": "stop", "message": message}],
        usage=litellm.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7),
    )
    made._hidden_params = {"model_id": deployment, "response_cost": 0.25}
    return made


def pieces(text: str = "yes") -> list[litellm.ModelResponseStream]:
    deltas = [{"content": letter} for letter in text]
    return [litellm.ModelResponseStream(model="m", choices=[{"delta": d}]) for d in deltas]


async def test_a_whole_call_from_its_arm_to_its_record(proxy: Proxy) -> None:
    data = await proxy.ask()
    assert await proxy.offered(data, HEALTHY) == [HEALTHY[1]]
    told = await proxy.headers(data, answer())
    await proxy.answered(data, answer())
    [line] = proxy.recorded()
    assert told == {
        "x-signalops-call-id": line["call_id"],
        "x-signalops-arm": "canary",
        "x-signalops-experiment": "e",
        "x-signalops-generation": "4",
        "x-signalops-served-by": "c",
    }
    assert (line["outcome"], line["served_deployment"], line["cost_usd"]) == (
        "served",
        "c",
        0.25,
    )
    assert (line["answer"]["text"], line["provider_model"]) == ("yes", "provider-model")
    assert (line["project_id"], line["key_id"]) == ("mine", "k1")
    assert proxy.errors == 0


async def test_a_stream_passes_unchanged_and_is_recorded_before_its_end(proxy: Proxy) -> None:
    data, sent, seen = await proxy.ask(stream=True), pieces(), []
    async for piece in proxy.stream(data, Stream(sent, {"model_id": "c"})):
        assert proxy.recorded() == []
        seen.append(piece)
    assert seen == sent
    [line] = proxy.recorded()
    assert (line["answer"]["text"], line["outcome"], line["status"]) == ("yes", "served", 200)
    assert line["ttft_ms"] is not None


async def test_a_stream_that_breaks_is_the_clients_error_and_a_record(proxy: Proxy) -> None:
    data = await proxy.ask(stream=True)
    cut = litellm.Timeout("the provider's words", model="m", llm_provider="openai")
    with pytest.raises(litellm.Timeout) as seen:
        async for _ in proxy.stream(data, Stream(pieces(), {"model_id": "c"}, cut)):
            pass
    assert seen.value is cut
    [line] = proxy.recorded()
    assert (line["outcome"], line["status"], line["answer"]["text"]) == (
        "incomplete",
        None,
        "yes",
    )
    assert "provider's words" not in json.dumps(line)


async def test_a_client_that_leaves_a_stream_is_a_record(proxy: Proxy) -> None:
    data = await proxy.ask(stream=True)
    stream = proxy.stream(data, Stream(pieces(), {"model_id": "c"}))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    [line] = proxy.recorded()
    assert (line["outcome"], line["answer"]["text"]) == ("incomplete", "y")


async def test_a_failure_is_a_record_with_the_providers_status(proxy: Proxy) -> None:
    data = await proxy.ask()
    error = litellm.RateLimitError("no", model="m", llm_provider="openai")
    error.failed_deployment_id = "c"
    await proxy.failed(data, error)
    [line] = proxy.recorded()
    assert (line["outcome"], line["status"], line["error_class"]) == (
        "failed",
        429,
        "RateLimitError",
    )
    assert [attempt["deployment"] for attempt in line["attempts"]] == ["c"]


async def test_a_refusal_of_ours_is_the_only_error_that_leaves(proxy: Proxy) -> None:
    with pytest.raises(ProxyException) as refused:
        await proxy.ask("solo")
    assert (refused.value.code, refused.value.param) == ("403", "model")
    with pytest.raises(ProxyException) as unknown:
        await proxy.ask("nobody", key=UserAPIKeyAuth())
    assert unknown.value.code == "404"
    assert proxy.errors == 0


@rubbish
async def test_a_request_we_cannot_read_passes_as_it_came(proxy: Proxy, sent: Any) -> None:
    before = json.dumps(sent)
    passed = await proxy.pre_call(sent, UserAPIKeyAuth())
    assert json.dumps(sent) == before
    assert passed is sent or passed["model"] == sent["model"]
    assert (passed is sent) == (proxy.worker.gauges.value("decided") == 0)


async def test_what_went_wrong_is_counted_once_each(proxy: Proxy) -> None:
    unreadable = {"proxy_server_request": {"arrival_time": "noon"}, "model": "judge"}
    for count in (1, 2, 3):
        assert await proxy.pre_call(unreadable) is unreadable
        assert proxy.errors == count


@rubbish
@pytest.mark.parametrize("healthy", [[], [None], [{}], ["p"], HEALTHY], ids=repr)
async def test_without_our_mark_a_choice_hurts_nobody(
    proxy: Proxy, sent: Any, healthy: Any
) -> None:
    assert await proxy.offered(sent, healthy, "elsewhere") == healthy
    assert await proxy.offered(sent, healthy, None) == healthy
    # Of a group of ours a call without a mark may reach the primary, and no canary.
    offered = await proxy.offered(sent, healthy)
    assert offered in (healthy, [], [HEALTHY[0]])
    assert HEALTHY[1] not in offered or proxy.errors > 0


@rubbish
async def test_no_answer_and_no_data_makes_a_later_hook_raise(proxy: Proxy, sent: Any) -> None:
    data = await proxy.ask()
    for response in [*RUBBISH, object(), litellm.ModelResponse()]:
        await proxy.headers(sent, response)
        await proxy.answered(sent, response)
        await proxy.failed(sent, response)
        await proxy.logged(sent, response)
    assert proxy.recorded() == []
    await proxy.answered(data, sent)
    [line] = proxy.recorded()
    assert line["outcome"] == "served"


@rubbish
async def test_any_stream_passes_whatever_we_make_of_it(proxy: Proxy, sent: Any) -> None:
    for data in (await proxy.ask(stream=True), sent if isinstance(sent, dict) else {}):
        stream = proxy.stream(data, Stream(list(RUBBISH), {}))
        assert [piece async for piece in stream] == RUBBISH


async def test_an_unreadable_answer_is_counted_and_not_felt(proxy: Proxy) -> None:
    class Hostile:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    data = await proxy.ask()
    await proxy.headers(data, Hostile())
    await proxy.answered(data, Hostile())
    assert proxy.errors == 2
    stream = proxy.stream(await proxy.ask(stream=True), Stream([Hostile()], {}))
    assert len([piece async for piece in stream]) == 1
    assert proxy.errors > 2
    assert [piece async for piece in proxy.stream(None, Stream([1, 2], {}))] == [1, 2]
