"""Which deployments exist, and which does a name mean?

The catalogue holds what the YAML and the registry know, before any experiment. Experiments
take their arms out of it, by names that people use: a deployment's id, a model's name, a
provider's `ft:` id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sidecar.core.assignment import PRIMARY
from sidecar.core.errors import Invalid, NotFound
from sidecar.core.model_list import Entry, ModelList
from sidecar.core.redaction import has_secret
from sidecar.core.registry import Version, direct_id_of, entries_of

MAX_NAMES = 20  # how many names a refusal lists


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every deployment there is.

    Args:
        entries: Those that make groups by themselves: the YAML's, then the registry's.
        direct: Copies that serve the YAML's `ft:` models under the provider's own id.
        spare: Registered versions that are not active; they serve only in experiments.
        aliases: Other names of groups.
        warnings: What was left out, and why.
    """

    entries: tuple[Entry, ...]
    direct: tuple[Entry, ...] = ()
    spare: tuple[Entry, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def routed(self) -> ModelList:
        """The groups that clients may ask for when no experiment runs."""
        return ModelList((*self.entries, *self.direct), self.aliases)

    def groups(self) -> list[str]:
        """Name every group, in the order of the configuration."""
        return list(dict.fromkeys(entry.group for entry in (*self.entries, *self.direct)))

    def group_named(self, name: str) -> str:
        """Resolve the name of a group, or another name of it.

        Raises:
            NotFound: Neither; the message lists the groups.
        """
        group = self.aliases.get(name, name)
        if group not in self.groups():
            msg = f"there is no group {name[:120]!r}; there are {listed(self.groups())}"
            raise NotFound(msg)
        return group

    def in_group(self, group: str) -> list[Entry]:
        """List a group's own deployments."""
        return self.routed.in_group(group)

    def by_id(self, deployment_id: str) -> Entry | None:
        """Find a deployment by its id."""
        every = (*self.entries, *self.spare, *self.direct)
        return next((entry for entry in every if entry.id == deployment_id), None)

    def find(self, name: str) -> list[Entry]:
        """Find the deployments that a name means, each with an id.

        Args:
            name: A deployment's id, a group with a single arm, or a provider's `ft:` id.

        Raises:
            Invalid: It means nothing, or a group with several arms, or a deployment
                without an id.
        """
        found = [entry] if (entry := self.by_id(name)) is not None else self._by_model(name)
        if not found:
            known = [e.id for e in (*self.entries, *self.spare) if e.id] + self.groups()
            msg = f"there is no deployment or model {name[:120]!r}; there are {listed(known)}"
            raise Invalid(msg)
        if any(entry.id is None for entry in found):
            msg = f"the deployments of {name!r} have no id; give each a model_info.id"
            raise Invalid(msg)
        return found

    def home_of(self, name: str) -> str:
        """Name the group whose calls a primary of that name answers today.

        Raises:
            Invalid: It answers none: it is unknown, or a version that is not active.
        """
        group = self.aliases.get(name, name)
        if group in self.groups():
            return group
        home = self.find(name)[0].group
        if home not in self.groups():
            msg = f"{name!r} serves no group now; say which group to experiment on"
            raise Invalid(msg)
        return home

    def _by_model(self, name: str) -> list[Entry]:
        group = self.aliases.get(name, name)
        own = [entry for entry in self.entries if entry.group == group]
        if len({entry.arm for entry in own}) > 1:
            arms = listed(sorted({entry.arm for entry in own}))
            ids = listed([entry.id for entry in own if entry.id])
            msg = f"group {name!r} has the arms {arms}; name a deployment of it: {ids}"
            raise Invalid(msg)
        return own or [entry for entry in self.entries if direct_id_of(entry.model) == name]


def catalogue_of(yaml: ModelList, versions: Sequence[Version]) -> Catalogue:
    """Put the YAML's deployments and the registry's together; the YAML wins a clash."""
    groups = {entry.group for entry in yaml.entries} | set(yaml.aliases)
    ids = {entry.id for entry in yaml.entries}
    routed, spare = entries_of(versions)
    clashes = [e for e in routed if e.group in groups or e.id in ids]
    warnings = [
        f"the registry's {entry.id!r} is not served: the YAML has a group, an alias or a "
        "deployment of that name"
        for entry in clashes
    ]
    taken = [entry for entry in routed if entry not in clashes]
    entries = (*yaml.entries, *taken)
    names = groups | {entry.group for entry in taken}
    warnings += [
        f"deployment {entry.id or entry.group!r} has a literal key: it is not hot-reloaded; "
        "use os.environ/NAME"
        for entry in yaml.entries
        if has_secret(entry.raw)
    ]
    return Catalogue(
        entries=entries,
        direct=_direct(yaml.entries, names),
        spare=tuple(entry for entry in spare if entry.id not in ids),
        aliases=yaml.aliases,
        warnings=tuple(warnings),
    )


def copied(entry: Entry, *, group: str, arm: str, deployment_id: str) -> Entry:
    """Copy a deployment, so that it serves another group as well."""
    info = entry.raw.get("model_info")
    kept = dict(info) if isinstance(info, Mapping) else {}
    raw = {
        **entry.raw,
        "model_name": group,
        "model_info": {**kept, "id": deployment_id, "arm": arm},
    }
    return replace(entry, group=group, arm=arm, id=deployment_id, raw=raw)


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence has them, not too many."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - MAX_NAMES} more" if len(unique) > MAX_NAMES else ""
    return (", ".join(repr(name) for name in unique[:MAX_NAMES]) or "none") + more


def _direct(entries: Sequence[Entry], taken: set[str]) -> tuple[Entry, ...]:
    """Serve the YAML's fine-tuned models under the provider's own id as well.

    Left out: what has no weight, for it is meant to get nothing, and what cannot be
    published, for want of an id or because a key stands in it.
    """
    copies = []
    for entry in entries:
        name = direct_id_of(entry.model)
        if name is None or name in taken or entry.id is None or "*" in name:
            continue
        if entry.weight > 0 and not has_secret(entry.raw):
            copy_id = f"{name}/{entry.id}"
            copies.append(copied(entry, group=name, arm=PRIMARY, deployment_id=copy_id))
    return tuple(replace(copy, weight=1.0) for copy in copies)
