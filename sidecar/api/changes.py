"""What do all changes of an experiment have in common? Who asks for which, and the answer."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Response

from sidecar.api.bodies import Line
from sidecar.api.deps import IfMatch, Now, Operator, by, etag, seen_version
from sidecar.service.experiments import Asked
from sidecar.service.views import ExperimentView


def _change(experiment_id: Line, now: Now, actor: Operator, if_match: IfMatch = None) -> Asked:
    return Asked(experiment_id, actor.project_id, by(actor, now), seen_version(if_match))


Change = Annotated[Asked, Depends(_change)]


def because(asked: Asked, reason: str | None) -> Asked:
    """Add to what is asked for why it is."""
    return replace(asked, by=replace(asked.by, reason=reason))


def tagged(response: Response, changed: ExperimentView) -> ExperimentView:
    """Answer with an experiment and the version it has now."""
    response.headers.update(etag(changed.version))
    return changed
