"""Who asks, and may they? Decided from the published routes alone, without a database."""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

from sidecar.core.errors import Denied
from sidecar.core.routing import Caller, Group, RoutingTable

# What a project's key may reach; each of these passes through our hooks, or names models.
INFERENCE_PATHS = frozenset(
    f"{prefix}/{name}"
    for prefix in ("", "/v1")
    for name in ("chat/completions", "responses", "messages", "embeddings", "models")
)
MASTER = Caller("master", "default", frozenset({"infer", "admin"}))
MAX_NAMES = 20  # how many models a refusal lists


class Denial(Denied):
    """A refusal that the client is meant to see.

    Args:
        status: HTTP status.
        kind: OpenAI's `error.type`.
        param: OpenAI's `error.param`.
    """

    def __init__(self, message: str, *, status: int, kind: str, param: str) -> None:
        """Keep what OpenAI's error format needs."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param


def authenticate(
    api_key: str | None, *, table: RoutingTable, master_key: str | None, now: datetime
) -> Caller:
    """Say who a key stands for.

    Raises:
        Denial: 401 for a missing, unknown or expired key; 503 when nothing was published
            yet and so no project's key can be known.
    """
    if not api_key:
        message = "no API key was sent; send 'Authorization: Bearer <key>'"
        raise _unauthenticated(message)
    sent = api_key.encode("utf-8", "replace")
    if master_key and hmac.compare_digest(sent, master_key.encode()):
        return MASTER
    caller = table.keys.get(hashlib.sha256(sent).hexdigest())
    if caller is None and table.generation == 0:
        message = "no routes were published yet, so no key is known; is the sidecar running?"
        raise Denial(message, status=503, kind="service_unavailable", param="api_key")
    if caller is None:
        message = "the API key is unknown or was revoked"
        raise _unauthenticated(message)
    if caller.expires_at is not None and caller.expires_at <= now:
        message = f"the API key {caller.key_id} has expired"
        raise _unauthenticated(message)
    return caller


def check_path(caller: Caller, path: str) -> None:
    """Refuse what a key may not reach: LiteLLM's administration is for the master key.

    Raises:
        Denial: 403.
    """
    if caller is MASTER:
        return
    if "infer" not in caller.scopes:
        message = f"the API key {caller.key_id} lacks the scope 'infer'"
    elif path.rstrip("/") not in INFERENCE_PATHS:
        message = f"the API key {caller.key_id} may call models, not {path[:80]!r}"
    else:
        return
    raise Denial(message, status=403, kind="permission_denied", param="api_key")


def check_model(
    model: str, *, table: RoutingTable, permitted: Iterable[str], trusted: bool
) -> Group | None:
    """Find the group a model name means, or refuse it.

    Args:
        permitted: Groups the key may ask for; empty means every group.
        trusted: Not a project's key, so it may also name a deployment.

    Returns:
        None for a deployment, or a name that only a wildcard of the YAML can match.

    Raises:
        Denial: 404 when nothing has that name, 403 when the key may not ask for it.
    """
    group = table.group(model)
    allowed = frozenset(permitted)
    if group is not None and (not allowed or group.name in allowed or model in allowed):
        return group
    if group is not None:
        message = (
            f"the API key may not ask for {model[:120]!r}; it may ask for {_names(allowed)}"
        )
        raise Denial(message, status=403, kind="permission_denied", param="model")
    if trusted if _is_deployment(model, table) else _has_wildcard(table) and not allowed:
        return None
    existing = allowed or set(table.groups) | set(table.aliases)
    message = f"the model {model[:120]!r} does not exist; there are {_names(existing)}"
    raise Denial(message, status=404, kind="invalid_request_error", param="model")


def _unauthenticated(message: str) -> Denial:
    return Denial(message, status=401, kind="authentication_error", param="api_key")


def _has_wildcard(table: RoutingTable) -> bool:
    return any("*" in name for name in table.groups)


def _is_deployment(model: str, table: RoutingTable) -> bool:
    return model in table.entries or any(
        model in arm.deployments for group in table.groups.values() for arm in group.arms
    )


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return ", ".join(repr(name) for name in listed[:MAX_NAMES]) + more
