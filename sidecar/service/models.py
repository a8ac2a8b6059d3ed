"""What may be done with the registry of trained models?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.catalogue import listed
from sidecar.core.errors import Conflict, NotFound
from sidecar.core.experiments import Status
from sidecar.core.registry import ModelType, Version, check_version, default_name
from sidecar.store import events, experiments, models
from sidecar.store.events import By


@dataclass(frozen=True, slots=True)
class Registration:
    """A trained result that is to be registered.

    Args:
        name: None to derive it from the model's id.
        api_key_env: The name of a variable in the proxy's environment, never a key.
    """

    model_id: str
    provider: str
    type: ModelType
    name: str | None = None
    base_model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A registered name and its versions, in their order.

    Args:
        active: The number of the version that `ft:<name>` means; None when it means none.
    """

    name: str
    type: ModelType
    active: int | None
    versions: Sequence[Version]


async def register(tx: AsyncConnection, new: Registration, *, by: By) -> Version:
    """Register a trained result as the next version of its name; it is not active yet.

    Raises:
        Invalid: A part of it is malformed.
        Conflict: The provider's id is registered already, or the name is another type's.
    """
    await events.take_turn(tx)
    model_id = new.model_id.removeprefix(f"{new.provider}/")
    name = new.name if new.name is not None else default_name(model_id)
    found = await models.find(tx, name)
    version = check_version(
        Version(
            name=name,
            type=new.type,
            number=1 if found is None else found.last_number + 1,
            model_id=model_id,
            provider=new.provider,
            created_at=by.now,
            created_by=by.actor,
            base_model=new.base_model,
            api_base=new.api_base,
            api_key_env=new.api_key_env,
        )
    )
    if found is not None and found.type is not new.type:
        msg = f"model {name!r} is a {found.type}; a {new.type} needs another name"
        raise Conflict(msg)
    same = await models.with_model_id(tx, model_id)
    if same is not None:
        msg = f"{model_id!r} is registered already, as version {same.number} of {same.name!r}"
        raise Conflict(msg)
    await models.add(tx, version)
    detail = {"version": version.number, "model_id": model_id, "provider": new.provider}
    await events.add(tx, f"model:{name}", "registered", by, detail)
    return version


async def every(tx: AsyncConnection) -> list[Model]:
    """List the registry by name."""
    by_name: dict[str, list[Version]] = {}
    for version in await models.every(tx):
        by_name.setdefault(version.name, []).append(version)
    return [_model(name, versions) for name, versions in by_name.items()]


async def get(tx: AsyncConnection, name: str) -> Model:
    """Return a registered name with its versions.

    Raises:
        NotFound: Nothing is registered under it; the message lists what is.
    """
    found = await every(tx)
    model = next((model for model in found if model.name == name), None)
    if model is None:
        names = listed([model.name for model in found])
        msg = f"there is no model {name[:80]!r}; there are {names}"
        raise NotFound(msg)
    return model


async def with_model_id(tx: AsyncConnection, model_id: str) -> Version:
    """Return the version of a provider's id.

    Raises:
        NotFound: It is not registered.
    """
    found = await models.with_model_id(tx, model_id)
    if found is None:
        msg = f"no version has the provider's id {model_id[:120]!r}"
        raise NotFound(msg)
    return found


async def activate(tx: AsyncConnection, name: str, number: int, *, by: By) -> Version:
    """Make a version the one that `ft:<name>` means, in place of the one before.

    Raises:
        NotFound: There is no such version.
    """
    await events.take_turn(tx)
    version = await models.get(tx, name, number)
    if version.is_active:
        return version
    await models.set_active(tx, name, number)
    await events.add(tx, f"model:{name}", "activated", by, {"version": number})
    return replace(version, is_active=True)


async def deactivate(tx: AsyncConnection, name: str, number: int, *, by: By) -> Version:
    """Take a version out of service; `ft:<name>` then means nothing.

    Raises:
        NotFound: There is no such version.
        Conflict: A running experiment uses it.
    """
    await events.take_turn(tx)
    version = await models.get(tx, name, number)
    if not version.is_active:
        return version
    for experiment in await experiments.of_yaml_or_running(tx):
        used = {d for ids in experiment.arms.values() for d in ids}
        running = experiment.status in (Status.ACTIVE, Status.PAUSED)
        if running and version.deployment_id in used:
            msg = (
                f"version {number} of {name!r} serves experiment {experiment.id!r}, which is "
                f"{experiment.status}; stop that one first"
            )
            raise Conflict(msg)
    await models.set_active(tx, name, None)
    await events.add(tx, f"model:{name}", "deactivated", by, {"version": number})
    return replace(version, is_active=False)


def _model(name: str, versions: Sequence[Version]) -> Model:
    active = next((version.number for version in versions if version.is_active), None)
    return Model(name, versions[0].type, active, versions)
