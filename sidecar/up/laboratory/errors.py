"""Which errors does the provider answer with, in OpenAI's format?"""

from collections.abc import Mapping
from typing import Any

from sidecar.up.laboratory.settings import ModelBehaviour


class ApiError(Exception):
    """An answer with a status of 400 or more; raised to end a request with it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self._fields = {"message": message, "type": kind, "param": param, "code": code}

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": self._fields}


def model_not_found(model: str, known: list[str]) -> ApiError:
    """Say that nobody has this model, and which there are."""
    message = f"The model {model[:200]!r} does not exist; there are: {', '.join(known)}"
    return ApiError(404, message, code="model_not_found", param="model")


def wrong_key(why: str) -> ApiError:
    """Refuse a key in OpenAI's words, by which clients tell this 401 from a bad request."""
    return ApiError(401, f"Incorrect API key provided: {why}", code="invalid_api_key")


def injected(behaviour: ModelBehaviour) -> ApiError:
    """Return the error a model was set to fail with.

    A kind that is no answer (a cut stream) is not asked for here; a timeout that somebody
    waited for to its end becomes a 504.
    """
    match behaviour.error_kind:
        case "400":
            return ApiError(400, "The laboratory rejected the request on purpose.")
        case "401":
            return wrong_key("the laboratory refuses all on purpose.")
        case "429":
            return ApiError(
                429,
                "The laboratory reached its rate limit on purpose.",
                kind="requests",
                code="rate_limit_exceeded",
                headers={"retry-after": str(behaviour.retry_after_s)},
            )
        case "timeout":
            message = f"The laboratory hung for {behaviour.hang_s:g} s on purpose."
            return ApiError(504, message, kind="server_error", code="timeout")
        case _:
            return ApiError(500, "The laboratory failed on purpose.", kind="server_error")
