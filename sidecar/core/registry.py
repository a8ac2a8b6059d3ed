"""Which trained models are there, and as which LiteLLM deployments are they served?

A registered model has a name and versions. A version never changes; one of them may be
active, and `ft:<name>` is that one. A provider's own `ft:` id is served under itself, too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from sidecar.core.assignment import PRIMARY
from sidecar.core.errors import Invalid
from sidecar.core.model_list import Entry
from sidecar.core.routing import Task
from sidecar.core.verdicts import DEFAULT_LABELS

FINE_TUNED = "ft:"
MAX_ID_CHARS = 300

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_MODEL_ID = re.compile(r"[!-~]+")  # visible ASCII: it stands in addresses and headers
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# These open the whole system; no provider may be sent them.
_OUR_VARIABLES = re.compile(r"SIGNALOPS_.*|LITELLM_.*|.*DATABASE_URL", re.IGNORECASE)


class ModelType(StrEnum):
    """What a registered model does."""

    JUDGE = "judge"
    DRAFTER = "drafter"


TASKS = {ModelType.JUDGE: Task.JUDGE, ModelType.DRAFTER: Task.DRAFT}


@dataclass(frozen=True, slots=True)
class Version:
    """One trained result, and where it is served.

    Args:
        number: Counts a name's versions from 1.
        model_id: The provider's own id.
        base_model: What LiteLLM prices it as; None to derive it from an `ft:` id.
        api_key_env: The name of a variable in the proxy's environment, never a key.
    """

    name: str
    type: ModelType
    number: int
    model_id: str
    provider: str
    created_at: datetime
    created_by: str
    base_model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    is_active: bool = False

    @property
    def deployment_id(self) -> str:
        """Name the version's deployment."""
        return f"{FINE_TUNED}{self.name}@v{self.number}"


def default_name(model_id: str) -> str:
    """Derive a name from a provider's id: the suffix its trainer chose, if there is one.

    Example:
        >>> default_name("ft:gpt-4o-mini-2024-07-18:acme:Relevance:Abc123")
        'relevance'
        >>> default_name("ft:gpt-4o-mini-2024-07-18:acme::Abc123")
        'abc123'
        >>> default_name("accounts/acme/models/Judge 7b")
        'judge-7b'
    """
    parts = model_id.split(":")[3:] if model_id.startswith(FINE_TUNED) else []
    chosen = next((part for part in parts if part.strip()), model_id.rsplit("/", 1)[-1])
    slug = re.sub(r"[^a-z0-9._-]+", "-", chosen.lower()).strip("-._")
    return slug[:63] or "model"


def base_model_of(model: str) -> str | None:
    """Say what LiteLLM prices a fine-tuned model as, or None when it is none.

    Args:
        model: LiteLLM's model string, with or without `openai/`.

    Example:
        >>> base_model_of("openai/ft:gpt-4o-mini-2024-07-18:acme::v1")
        'ft:gpt-4o-mini-2024-07-18'
    """
    fine_tuned = direct_id_of(model)
    if fine_tuned is None:
        return None
    base = fine_tuned.removeprefix(FINE_TUNED).split(":")[0]
    return f"{FINE_TUNED}{base}" if base else None


def direct_id_of(model: str) -> str | None:
    """Return the provider's `ft:` id in LiteLLM's model string, or None."""
    bare = model.removeprefix("openai/")
    return bare if bare.startswith(FINE_TUNED) else None


def check_version(version: Version) -> Version:
    """Refuse what could not be served or named.

    Raises:
        Invalid: The message says which part is wrong, and how it should look.
    """
    _match(_NAME, version.name, "a model's name is lower case letters, digits, '.', '_', '-'")
    _match(_PROVIDER, version.provider, "a provider is LiteLLM's name of it, as 'openai'")
    for found in (version.model_id, version.base_model):
        if found is not None:
            _match(_MODEL_ID, found, "a model id has no blanks and no special characters")
    if len(version.model_id) > MAX_ID_CHARS:
        msg = f"a model id has at most {MAX_ID_CHARS} characters, found {len(version.model_id)}"
        raise Invalid(msg)
    if version.api_base is not None:
        _check_address(version.api_base)
    if version.api_key_env is not None:
        _match(_VARIABLE, version.api_key_env, "api_key_env is the name of a variable")
        if _OUR_VARIABLES.fullmatch(version.api_key_env):
            msg = f"api_key_env must name a provider's key, found {version.api_key_env!r}"
            raise Invalid(msg)
    return version


def entries_of(versions: Sequence[Version]) -> tuple[list[Entry], list[Entry]]:
    """Turn the registry into deployments.

    Returns:
        Those that make groups (`ft:<name>` for an active version, and the provider's own
        `ft:` id for every version), and those that serve only where an experiment asks
        for them: the versions that are not active.
    """
    routed: list[Entry] = []
    spare: list[Entry] = []
    for version in versions:
        named = _entry(version, f"{FINE_TUNED}{version.name}", version.deployment_id)
        (routed if version.is_active else spare).append(named)
        if version.model_id.startswith(FINE_TUNED):
            routed.append(_entry(version, version.model_id, version.model_id))
    return routed, spare


def _entry(version: Version, group: str, deployment_id: str) -> Entry:
    """Make one deployment of a version."""
    params: dict[str, object] = {"model": f"{version.provider}/{version.model_id}"}
    if version.api_base is not None:
        params["api_base"] = version.api_base
    if version.api_key_env is not None:
        params["api_key"] = f"os.environ/{version.api_key_env}"
    task = TASKS[version.type]
    info: dict[str, object] = {"id": deployment_id, "task": task.value}
    if version.base_model is not None:
        info["base_model"] = version.base_model
    return Entry(
        group=group,
        id=deployment_id,
        model=str(params["model"]),
        arm=PRIMARY,
        task=task,
        weight=1.0,
        labels=DEFAULT_LABELS if task is Task.JUDGE else (),
        raw={"model_name": group, "litellm_params": params, "model_info": info},
    )


def _match(pattern: re.Pattern[str], found: str, rule: str) -> None:
    if not pattern.fullmatch(found):
        msg = f"{rule}, found {found[:80]!r}"
        raise Invalid(msg)


def _check_address(api_base: str) -> None:
    """Refuse an address that is none, or that holds a password."""
    try:
        parts = urlsplit(api_base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        has_login = "@" in parts.netloc
    except ValueError:
        usable, has_login = False, False
    if has_login:  # not quoted: it has a password in it
        msg = "api_base must not hold a user or password; name a variable by api_key_env"
        raise Invalid(msg)
    if not usable or any(c.isspace() or not c.isprintable() for c in api_base):
        msg = f"api_base must be an http or https address, found {api_base[:80]!r}"
        raise Invalid(msg)
