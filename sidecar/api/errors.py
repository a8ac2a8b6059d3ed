"""What does the client see when something is wrong? One form, RFC 9457, for everything.

    {"type": "urn:signalops:not-found", "title": "Not found", "status": 404, "detail": "..."}

The status of each kind of error stands in `STATUS`, and nowhere else.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sidecar.core.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    SignalopsError,
    Unauthenticated,
    Unavailable,
)
from sidecar.service.experiments import Stale

log = structlog.get_logger(__name__)

STATUS: dict[type[SignalopsError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Stale: HTTPStatus.PRECONDITION_FAILED,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.UNPROCESSABLE_CONTENT
    if hasattr(HTTPStatus, "UNPROCESSABLE_CONTENT")
    else HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50  # of one request that are told


def install(app: FastAPI) -> None:
    """Have every error of an application answered as a problem."""
    app.add_exception_handler(SignalopsError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_anything)


def status_of(kind: type[BaseException]) -> int:
    """Find the status of a kind of error, or of the nearest kind above it."""
    for parent in kind.__mro__:
        if issubclass(parent, SignalopsError) and parent in STATUS:
            return STATUS[parent]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Write a problem.

    Args:
        kind: What a program may test for: `not-found`, `illegal-move`, ...
        errors: Each field that is wrong, and how.
    """
    body: dict[str, object] = {
        "type": f"urn:signalops:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail.encode("utf-8", "replace").decode(),
    }
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, int(status), dict(headers or {}), MEDIA_TYPE)


async def _on_ours(_request: Request, error: Exception) -> JSONResponse:
    status = status_of(type(error))
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    return problem(status, kind, str(error), headers=headers)


async def _on_validation(_request: Request, error: Exception) -> JSONResponse:
    # What was sent is left out: it may be long, and it may be a key.
    found = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [
        {
            "at": ".".join(_shown(part) for part in item["loc"]),
            "message": _shown(item["msg"], 300),
        }
        for item in found[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{item['at']}: {item['message']}" for item in errors[:5])
    return problem(STATUS[Invalid], "invalid-request", detail, errors=errors)


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    phrase = HTTPStatus(status).phrase
    kind = phrase.lower().replace(" ", "-")
    headers = getattr(error, "headers", None)
    return problem(status, kind, str(getattr(error, "detail", phrase)), headers=headers)


async def _on_anything(request: Request, error: Exception) -> JSONResponse:
    # The class alone: a driver's message may quote what a client sent.
    path = request.scope.get("route")
    log.error(
        "request.answer.failed",
        method=request.method,
        route=getattr(path, "path", "?"),
        error=type(error).__name__,
    )
    detail = "the sidecar made a mistake; its log has more"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)


def _shown(part: object, most: int = 80) -> str:
    return str(part)[:most].encode("utf-8", "replace").decode()
