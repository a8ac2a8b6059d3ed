"""Who may ask for what? API keys: their scopes, and how one is recognised."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sidecar.core.errors import Denied, Invalid
from sidecar.core.routing import Caller

SCOPES = ("infer", "read", "review", "operate", "admin")
PREFIX = "so-"  # so that a key is recognised where it should not be, in a log or a commit

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is stored: everything but the key.

    Args:
        scopes: Of `SCOPES`.
        models: Groups the key may ask for; empty means every group.
        expires_at: None for a key that does not expire.
    """

    id: str
    project_id: str
    name: str | None
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether the key opens anything."""
        expired = self.expires_at is not None and self.expires_at <= now
        return self.revoked_at is None and not expired

    def caller(self) -> Caller:
        """Say who the key stands for."""
        return Caller(
            key_id=self.id,
            project_id=self.project_id,
            scopes=frozenset(self.scopes),
            models=frozenset(self.models),
            expires_at=self.expires_at,
        )


def digest_of(key: str) -> str:
    """Return what is stored of a key: its SHA-256.

    No salt and no slow hash: a key is 256 random bits, which cannot be guessed.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Put scopes into their order, each once.

    Raises:
        Invalid: There is none, or one is unknown.
    """
    found = set(scopes)
    unknown = sorted(found - set(SCOPES))
    if unknown or not found:
        named = ", ".join(unknown) or "none"
        msg = f"scopes must be of {', '.join(SCOPES)}, found {named}"
        raise Invalid(msg)
    return tuple(scope for scope in SCOPES if scope in found)


def check_project(project_id: str) -> str:
    """Return the project's id if it is a plain name.

    Raises:
        Invalid: It is none; it stands in headers, logs and addresses.
    """
    if not _PROJECT.fullmatch(project_id):
        msg = (
            "a project_id is a letter or digit followed by letters, digits, '.', '_' or '-', "
            f"at most 63 in all, found {project_id[:80]!r}"
        )
        raise Invalid(msg)
    return project_id


def check_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return the moment if a key may be made to expire then.

    Raises:
        Invalid: It has passed, or says no time zone.
    """
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        msg = f"expires_at needs a time zone, found {expires_at.isoformat()}"
        raise Invalid(msg)
    if expires_at <= now:
        msg = f"expires_at {expires_at.isoformat()} has passed; it is {now.isoformat()}"
        raise Invalid(msg)
    return expires_at


def require_scope(scopes: frozenset[str], needed: str) -> None:
    """Refuse who lacks a scope; `admin` includes the others.

    Raises:
        Denied: The scope is missing.
    """
    if needed not in scopes and "admin" not in scopes:
        msg = f"this needs the scope {needed!r}; the key has {', '.join(sorted(scopes))}"
        raise Denied(msg)
