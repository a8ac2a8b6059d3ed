"""How is a request routed before anything was published?"""

from collections.abc import Mapping
from datetime import datetime

from sidecar.core.experiments import Experiment, Status
from sidecar.core.model_list import compile_groups, implicit_id, read_model_list
from sidecar.core.routing import Owner, RoutingTable


def cold_start(config: Mapping[str, object], *, now: datetime) -> RoutingTable:
    """Route by a configuration alone, before anything was published.

    The salts are those that will be published, so units keep their arms; generation,
    epoch and stage are 0.

    Raises:
        Invalid: As `read_model_list`.
    """
    model_list = read_model_list(config)
    implicit = [
        Experiment(
            id=implicit_id(name),
            group=name,
            project_id="default",
            salt=implicit_id(name),
            share_bp={},
            created_at=now,
            owner=Owner.YAML,
            status=Status.ACTIVE,
            epoch=0,
        )
        for name in {entry.group for entry in model_list.entries}
    ]
    groups = compile_groups(model_list, implicit)
    return RoutingTable(0, "", groups, model_list.aliases, {}, {})
