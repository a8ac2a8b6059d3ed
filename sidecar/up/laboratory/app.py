"""Which URLs does the laboratory answer? OpenAI's under `/v1`, its controls under `/lab`."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sidecar.core.errors import Invalid, NotFound
from sidecar.up.laboratory import answers, errors, wire
from sidecar.up.laboratory.faults import Cut, EventStream
from sidecar.up.laboratory.lab import Fate, Laboratory
from sidecar.up.laboratory.seen import RequestLog
from sidecar.up.laboratory.settings import ModelBehaviour

JSON = "application/json"


def create_app(
    behaviours: Sequence[ModelBehaviour],
    *,
    api_key: str | None = None,
    keep_requests: int = 200,
    now_s: Callable[[], float] = time.time,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> FastAPI:
    """Build the server; it trains its judges when it starts, and answers when it has.

    Args:
        behaviours: The models, each with a name of its own.
        api_key: The only bearer key taken; `None` takes any, or none.
        keep_requests: How many of the last requests `GET /lab/requests` can show.
        now_s: The time in answers, in seconds since 1970.
        new_id: Names each answer.
    """
    log = RequestLog(keep_requests)
    laboratory = Laboratory(behaviours, log, now_s, new_id, api_key=api_key)

    @asynccontextmanager
    async def prepared(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(laboratory.prepare)
        yield

    app = FastAPI(lifespan=prepared, openapi_url=None)
    app.state.laboratory = laboratory
    app.include_router(_openai)
    app.include_router(_controls)
    app.add_exception_handler(errors.ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _left)
    for kind in (Invalid, NotFound):
        app.add_exception_handler(kind, _control_error)
    return app


def _laboratory(request: Request) -> Laboratory:
    laboratory: Laboratory = request.app.state.laboratory
    return laboratory


Lab = Annotated[Laboratory, Depends(_laboratory)]
_openai = APIRouter(prefix="/v1")
_controls = APIRouter(prefix="/lab")


@_openai.post("/chat/completions")
async def chat_completions(request: Request, laboratory: Lab) -> Response:
    """Answer a chat completion, whole or as a stream."""
    ask = wire.chat_ask(await _body(request, laboratory))
    fate = await _decided(request, laboratory, ask.model, ask.digest, embeds=False)
    turn = laboratory.turn(ask, fate)
    if ask.stream:
        return _stream(answers.chat_events(turn, include_usage=ask.include_usage), turn, fate)
    return await _whole(answers.chat_answer(turn), turn.id, fate)


@_openai.post("/responses")
async def responses(request: Request, laboratory: Lab) -> Response:
    """Answer a request of the Responses API, whole or as a stream."""
    ask = wire.responses_ask(await _body(request, laboratory))
    fate = await _decided(request, laboratory, ask.model, ask.digest, embeds=False)
    turn = laboratory.turn(ask, fate)
    if ask.stream:
        return _stream(answers.response_events(turn), turn, fate)
    return await _whole(answers.response_answer(turn), turn.id, fate)


@_openai.post("/embeddings")
async def embeddings(request: Request, laboratory: Lab) -> Response:
    """Answer with one unit vector a text."""
    ask = wire.embedding_ask(await _body(request, laboratory))
    fate = await _decided(request, laboratory, ask.model, ask.digest, embeds=True)
    answer = wire.embeddings_answer(ask, fate.behaviour.answers_as)
    return await _whole(answer, laboratory.new_id(), fate)


@_openai.get("/models")
async def list_models(request: Request, laboratory: Lab) -> Response:
    """List the models."""
    laboratory.check_key(request.headers.get("authorization"))
    created = int(laboratory.now_s())
    data = [wire.model_object(name, created) for name in laboratory.models]
    return _json({"object": "list", "data": data})


@_openai.get("/models/{name:path}")
async def show_model(name: str, request: Request, laboratory: Lab) -> Response:
    """Describe one model."""
    laboratory.check_key(request.headers.get("authorization"))
    if name not in laboratory.models:
        raise errors.model_not_found(name, sorted(laboratory.models))
    return _json(wire.model_object(name, int(laboratory.now_s())))


@_controls.get("/models")
async def show_behaviours(laboratory: Lab) -> Response:
    """Show how the models behave now; the server answers once all judges are trained."""
    models = [behaviour.model_dump(mode="json") for behaviour in laboratory.models.values()]
    return _json({"ready": True, "models": models})


@_controls.patch("/models/{name:path}")
async def change_behaviour(name: str, request: Request, laboratory: Lab) -> Response:
    """Change some settings of a model, from the next call on."""
    try:
        changes = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        msg = f"the changes must be a JSON object: {error.msg}"
        raise Invalid(msg) from error
    if not isinstance(changes, dict):
        msg = f"the changes must be a JSON object, found {type(changes).__name__}"
        raise Invalid(msg)
    behaviour = await laboratory.change(name, changes)
    return _json(behaviour.model_dump(mode="json"))


@_controls.post("/reset")
async def reset(laboratory: Lab) -> Response:
    """Go back to the start: models, counts, dice."""
    await laboratory.reset()
    return _json({"models": sorted(laboratory.models)})


@_controls.get("/requests")
async def show_requests(
    laboratory: Lab, last: Annotated[int, Query(ge=0)] = 0, model: str | None = None
) -> Response:
    """Count what came, by model; with `last`, show that many requests as they came."""
    counts = laboratory.log.counts()
    return _json({"models": counts, "last": laboratory.log.last(last, model)})


async def _body(request: Request, laboratory: Laboratory) -> dict[str, Any]:
    authorization = request.headers.get("authorization")
    return laboratory.receive(request.url.path, await request.body(), authorization)


async def _decided(
    request: Request, laboratory: Laboratory, model: str, digest: bytes, *, embeds: bool
) -> Fate:
    """Throw the dice, and end the request here if they say so.

    Raises:
        ApiError: The model's set error, after the time an answer would have taken.
    """
    fate = laboratory.fate(model, digest, embeds=embeds)
    if fate.hangs:
        await _hang(request, fate.behaviour.hang_s)
    elif fate.fails and not fate.cut and fate.lasts_s > 0:
        await asyncio.sleep(fate.lasts_s)
    if fate.fails and not fate.cut:
        raise errors.injected(fate.behaviour)
    return fate


async def _hang(request: Request, hang_s: float) -> None:
    """Wait, but not for a client that has left: nobody would see the end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(hang_s):
            while (await request.receive())["type"] != "http.disconnect":
                pass


async def _whole(answer: Mapping[str, Any], call_id: str, fate: Fate) -> Response:
    if fate.lasts_s > 0:
        await asyncio.sleep(fate.lasts_s)
    kind = Cut if fate.cut else Response
    return kind(wire.dump(answer), media_type=JSON, headers=_headers(call_id, fate))


def _stream(events: Iterator[bytes], turn: answers.Turn, fate: Fate) -> Response:
    headers = _headers(turn.id, fate)
    return EventStream(events, lasts_s=fate.lasts_s, cut=fate.cut, headers=headers)


def _headers(call_id: str, fate: Fate) -> dict[str, str]:
    return {
        "x-request-id": f"req_{call_id}",
        "openai-processing-ms": str(round(fate.lasts_s * 1000)),
    }


def _json(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(wire.dump(value), status, headers, media_type=JSON)


async def _api_error(_request: Request, error: Exception) -> Response:
    """Answer in OpenAI's format."""
    if not isinstance(error, errors.ApiError):
        raise error
    return _json(error.body, error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown URL or method in OpenAI's format too."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return _json(errors.ApiError(error.status_code, message).body, error.status_code)


async def _left(_request: Request, _error: Exception) -> Response:
    """Answer a client that left while it was still sending: it will not read this."""
    return Response(status_code=400)


async def _control_error(_request: Request, error: Exception) -> Response:
    """Say what was wrong with a control request."""
    return _json({"detail": str(error)}, 404 if isinstance(error, NotFound) else 422)
