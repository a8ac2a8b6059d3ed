"""What did the client ask for, and how is our mark put on the request?"""

import time
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from sidecar.core.assignment import stable_unit
from sidecar.core.routing import Unit, UnitSource

STAMP = "signalops"  # our mark, in LiteLLM's own metadata of the request

SURFACES = {
    "acompletion": "chat",
    "completion": "chat",
    "aresponses": "responses",
    "responses": "responses",
    "anthropic_messages": "messages",
    "aembedding": "embeddings",
    "embeddings": "embeddings",
}

# What LiteLLM would obey, though only a router should say it. `weights` and the like are
# stripped by LiteLLM itself; these are not (measured with 1.106.2).
CONTROL_KEYS = (
    "_excluded_deployment_ids",
    "_retry_skipped_deployment_ids",
    "specific_deployment",
    "mock_testing_fallbacks",
    "mock_timeout",
)
FALLBACK_KEYS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")

# LiteLLM fills its bucket in place, and it is part of what it hands on as the body. Only its
# own bucket has this name in it: it strips that from what clients send.
LITELLMS_OWN = "user_api_key_auth"
# What it adds before it copies the client's metadata.
ADDED_METADATA = frozenset({"headers", "used_client_oauth_token"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the client sent it.

    Args:
        body: The JSON body, without what LiteLLM wrote into it.
        metadata: The client's own, of whatever surface.
        arrived_at: Seconds since the epoch.
    """

    model: str
    surface: str
    stream: bool
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    metadata: Mapping[str, Any]
    arrived_at: float


def read_request(data: Mapping[str, Any], call_type: str) -> Asked:
    """Read what LiteLLM hands to a pre-call hook."""
    sent = data.get("proxy_server_request") or {}
    body = _as_sent(sent.get("body"))
    headers = sent.get("headers")
    metadata = body.get("metadata")
    return Asked(
        model=str(data.get("model") or body.get("model") or ""),
        surface=SURFACES.get(call_type, call_type),
        stream=bool(data.get("stream")),
        body=body,
        headers=headers if isinstance(headers, Mapping) else {},
        metadata=metadata if isinstance(metadata, Mapping) else {},
        arrived_at=float(sent.get("arrival_time") or time.time()),
    )


def unit_of(asked: Asked, only: UnitSource | None, *, call_id: str) -> Unit:
    """Find what is randomised over: the first source that names one.

    Args:
        only: The one source the experiment allows, or None for the order of precedence.
        call_id: The unit of a request that names none.
    """
    found: dict[UnitSource, object] = {
        UnitSource.HEADER: asked.headers.get("x-signalops-unit"),
        UnitSource.METADATA: asked.metadata.get("unit_id"),
        UnitSource.USER: asked.body.get("user"),
        UnitSource.SESSION: _session_of(asked),
    }
    for source, value in found.items():
        allowed = only is None or only is source
        if allowed and isinstance(value, str | int) and str(value):
            return Unit(stable_unit(str(value)), source)
    return Unit(call_id, UnitSource.CALL)


def stamp(data: MutableMapping[str, Any], call_id: str, headers: Mapping[str, str]) -> None:
    """Put our mark where every later hook finds it.

    Args:
        headers: What the client is to be told of the call.
    """
    key = _bucket_name(data)
    bucket = data.get(key)
    mark = {"call_id": call_id, "headers": dict(headers)}
    data[key] = {**(bucket if isinstance(bucket, Mapping) else {}), STAMP: mark}


def stamp_of(data: Mapping[str, Any] | None) -> str | None:
    """Read our call id back, in any hook that gets the request's data or kwargs."""
    found = _mark(data, _bucket_name(data or {})).get("call_id")
    return found if isinstance(found, str) else None


def stamped_headers(data: Mapping[str, Any]) -> dict[str, str]:
    """Read back what the client is to be told; empty when we did not mark the request."""
    headers = _mark(data, _bucket_name(data)).get("headers")
    return dict(headers) if isinstance(headers, Mapping) else {}


def stamp_of_logged(kwargs: Mapping[str, Any]) -> str | None:
    """Read our call id back in a logging hook, where the metadata lies elsewhere."""
    params = kwargs.get("litellm_params")
    for key in ("metadata", "litellm_metadata"):
        found = _mark(params, key).get("call_id")
        if isinstance(found, str):
            return found
    return None


def strip_controls(data: MutableMapping[str, Any], permitted: Collection[str]) -> None:
    """Take out what a client may not decide: deployments, and fallbacks beyond its models.

    Args:
        permitted: Names a fallback may lead to.
    """
    for key in CONTROL_KEYS:
        data.pop(key, None)
    for key in FALLBACK_KEYS:
        asked = data.get(key)
        if asked is not None and not _all_permitted(asked, permitted):
            del data[key]


def isolate_cache(data: MutableMapping[str, Any], namespace: str) -> None:
    """Give an arm a response cache of its own.

    LiteLLM keys its cache by group: without this, one arm is served the other's answers.
    """
    asked = data.get("cache")
    data["cache"] = {**(asked if isinstance(asked, Mapping) else {}), "namespace": namespace}


def excluded_of(data: Mapping[str, Any]) -> frozenset[str]:
    """List the deployments that the router itself keeps out of this call's next try."""
    return frozenset(map(str, data.get("_excluded_deployment_ids") or ()))


def deployment_id(deployment: Mapping[str, Any]) -> str:
    """Read the id of a deployment as the router lists it."""
    return str((deployment.get("model_info") or {}).get("id") or "")


def caller_of(key: object) -> Mapping[str, Any]:
    """Read back what our `auth` put on LiteLLM's key object; empty without our `auth`."""
    metadata = getattr(key, "metadata", None)
    found = metadata.get("signalops") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _as_sent(body: object) -> Mapping[str, Any]:
    """Take LiteLLM's bucket out of a body, and put the client's metadata in its place.

    The bucket holds some 2,000 bytes that are the same in every request, and an object
    that is no JSON.
    """
    if not isinstance(body, Mapping):
        return {}
    sent = dict(body)
    for name in ("metadata", "litellm_metadata"):
        bucket = body.get(name)
        if not isinstance(bucket, Mapping) or LITELLMS_OWN not in bucket:
            continue
        del sent[name]
        own = bucket.get("requester_metadata")
        own = own if isinstance(own, Mapping) and name == "metadata" else {}
        if kept := {key: own[key] for key in own if key not in ADDED_METADATA}:
            sent[name] = kept
    return sent


def _mark(data: object, key: str) -> Mapping[str, Any]:
    bucket = data.get(key) if isinstance(data, Mapping) else None
    mark = bucket.get(STAMP) if isinstance(bucket, Mapping) else None
    return mark if isinstance(mark, Mapping) else {}


def _bucket_name(data: Mapping[str, Any]) -> str:
    # As `get_metadata_variable_name_from_kwargs` of litellm_core_utils/core_helpers.py.
    return "litellm_metadata" if "litellm_metadata" in data else "metadata"


def _session_of(asked: Asked) -> object:
    for name in ("x-litellm-session-id", "x-session-id"):
        if value := asked.headers.get(name):
            return value
    return asked.body.get("litellm_session_id") or asked.metadata.get("session_id")


def _all_permitted(asked: object, permitted: Collection[str]) -> bool:
    """Whether every model a client's fallbacks name, in any of LiteLLM's forms, is allowed."""
    if isinstance(asked, str):
        return asked in permitted
    if isinstance(asked, Mapping):
        target = asked.get("model")
        return isinstance(target, str) and target in permitted
    if isinstance(asked, list):
        return all(_all_permitted(item, permitted) for item in asked)
    return False
