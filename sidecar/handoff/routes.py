"""How do routes reach the proxy? One file, replaced whole, read when it changes."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sidecar.core.assignment import ranges
from sidecar.core.errors import Invalid
from sidecar.core.routing import Arm, Caller, Group, Owner, RoutingTable, Task, UnitSource

FORM = 1
FILE_NAME = "routes.json"


def write_routes(path: Path, table: RoutingTable) -> None:
    """Replace the file at once: a reader sees the old table or the new, never half.

    Raises:
        OSError: The disk refused; the old file still stands.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(hidden, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(json.dumps(to_document(table)).encode())
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


class RoutesReader:
    """The reading end: parses the file once for each time it was replaced."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> RoutingTable | None:
        """Return the table if it is new since the last call, else None.

        Raises:
            Invalid: The file is there, but is no table; it is not looked at again until
                it is replaced.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if stamp == self._seen:
            return None
        self._seen = stamp
        return from_document(self._path.read_bytes())


def content_hash(table: RoutingTable) -> str:
    """Hash what a table says, without its generation: equal content, equal hash."""
    content = {**to_document(table), "generation": 0, "hash": ""}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def to_document(table: RoutingTable) -> dict[str, Any]:
    """Give the table as JSON values."""
    return {
        "form": FORM,
        "generation": table.generation,
        "hash": table.hash,
        "groups": {name: _group_out(group) for name, group in table.groups.items()},
        "aliases": dict(table.aliases),
        "entries": {name: dict(entry) for name, entry in table.entries.items()},
        "keys": {digest: _caller_out(caller) for digest, caller in table.keys.items()},
    }


def from_document(data: bytes | str | Mapping[str, Any]) -> RoutingTable:
    """Read a table back.

    Raises:
        Invalid: It is no table, or of a form this version does not know.
    """
    try:
        document = json.loads(data) if isinstance(data, bytes | str) else data
        if document["form"] != FORM:
            msg = f"routes of form {document['form']!r} are unknown, expected {FORM}"
            raise Invalid(msg)
        return RoutingTable(
            generation=int(document["generation"]),
            hash=str(document["hash"]),
            groups={name: _group_in(name, found) for name, found in document["groups"].items()},
            aliases=dict(document["aliases"]),
            entries=dict(document["entries"]),
            keys={digest: _caller_in(found) for digest, found in document["keys"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the routes cannot be read: {type(error).__name__}: {error}"
        raise Invalid(msg) from error


def _group_out(group: Group) -> dict[str, Any]:
    return {
        "task": group.task,
        "labels": list(group.labels),
        "owner": group.owner,
        "experiment_id": group.experiment_id,
        "salt": group.salt,
        "epoch": group.epoch,
        "stage": group.stage,
        "paused": group.paused,
        "unit": group.unit,
        "held_by": group.held_by,
        "arms": [
            {"name": a.name, "share_bp": a.share_bp, "deployments": list(a.deployments)}
            for a in group.arms
        ],
    }


def _group_in(name: str, found: Mapping[str, Any]) -> Group:
    arms = tuple(
        Arm(a["name"], int(a["share_bp"]), tuple(a["deployments"])) for a in found["arms"]
    )
    return Group(
        name=name,
        task=Task(found["task"]),
        arms=arms,
        ranges=ranges({arm.name: arm.share_bp for arm in arms}),
        labels=tuple(found["labels"]),
        owner=Owner(found["owner"]),
        experiment_id=found["experiment_id"],
        salt=found["salt"],
        epoch=int(found["epoch"]),
        stage=int(found["stage"]),
        paused=bool(found["paused"]),
        unit=None if found["unit"] is None else UnitSource(found["unit"]),
        held_by=found.get("held_by"),  # a table published by the release before has none
    )


def _caller_out(caller: Caller) -> dict[str, Any]:
    return {
        "key_id": caller.key_id,
        "project_id": caller.project_id,
        "scopes": sorted(caller.scopes),
        "models": sorted(caller.models),
        "expires_at": None if caller.expires_at is None else caller.expires_at.isoformat(),
    }


def _caller_in(found: Mapping[str, Any]) -> Caller:
    expires_at = found["expires_at"]
    return Caller(
        key_id=found["key_id"],
        project_id=found["project_id"],
        scopes=frozenset(found["scopes"]),
        models=frozenset(found["models"]),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )
