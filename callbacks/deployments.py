"""How do the router's deployments follow the published routes?

LiteLLM reads its YAML once. What is published later is put into, or taken out of, the
running router, deployment by deployment, so that calls under way keep theirs.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from litellm.types.router import Deployment

from sidecar.core.routing import RoutingTable

log = logging.getLogger("signalops")

_REFERENCE = "os.environ/"


class Router(Protocol):
    """What we use of `litellm.Router`."""

    model_list: list[dict[str, Any]]
    model_group_alias: dict[str, Any] | None

    def upsert_deployment(self, deployment: Deployment) -> object:
        """Add a deployment, or replace the one of that id."""

    def delete_deployment(self, id: str) -> object:  # noqa: A002  (LiteLLM's name)
        """Remove a deployment."""


class Deployments:
    """Keeps one router equal to the routes."""

    def __init__(self) -> None:
        """Know nothing: the first table is applied whole."""
        self._applied: dict[str, Mapping[str, object]] = {}

    def apply(self, table: RoutingTable, router: Router) -> list[str]:
        """Add, replace and remove what differs from the last table applied.

        Returns:
            Ids that could not be applied, for a missing variable or a refusal of the
            router; the others are served all the same.
        """
        failed = []
        for name, entry in table.entries.items():
            if self._applied.get(name) == entry:
                continue
            try:
                router.upsert_deployment(Deployment(**resolve(entry)))
                self._applied[name] = entry
            except Exception as error:  # noqa: BLE001  (one bad entry must not stop the rest)
                log.error("deployment.apply.failed id=%s error=%s", name, type(error).__name__)  # noqa: TRY400
                failed.append(name)
        # An entry may leave the file and stay in use, when its key became a literal one.
        in_use = {d for g in table.groups.values() for a in g.arms for d in a.deployments}
        for name in set(self._applied) - set(table.entries) - in_use:
            router.delete_deployment(id=name)
            del self._applied[name]
        return failed


def resolve(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Put values in place of `os.environ/NAME` references.

    Raises:
        KeyError: A variable is not set.
    """
    return {str(key): _value(value) for key, value in entry.items()}


def _value(value: object) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, str) and value.startswith(_REFERENCE):
        return os.environ[value.removeprefix(_REFERENCE)]
    if isinstance(value, Mapping):
        return resolve(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return value
