"""What does the sidecar need to be told? Where things are, two secrets, and its roles."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sidecar.core.reviewing import DOUBLE


class Role(StrEnum):
    """What a sidecar process does; several may share one volume and one database."""

    ADMIN = "admin"  # serves /v1
    DRAIN = "drain"  # journal to PostgreSQL
    PUBLISH = "publish"  # YAML and experiments to routes.json
    CONTROL = "control"  # looks at experiments, and acts as their plans allow


class Settings(BaseSettings):
    """Settings of the sidecar; each is `SIGNALOPS_<NAME>` in the environment.

    Args:
        database_url: `postgresql://user:password@host:port/database`.
        admin_key: Opens everything; the other keys are in the database.
        home: Where state lives; the shared volume is `handoff` in it.
        handoff: The shared volume, when it is not in `home`.
        config_path: LiteLLM's `proxy_config.yaml`, as the proxy reads it.
        host: Whom to listen to; only this machine unless set.
        roles: Comma-separated; all when left out.
        database_wait_s: How long to wait for the database at start.
        review_double: Share of the judges' drawn calls that two people label.
        min_edit: An edit of less than this share of the longer text gives no pair.
    """

    model_config = SettingsConfigDict(env_prefix="SIGNALOPS_", frozen=True, extra="forbid")

    database_url: SecretStr
    admin_key: SecretStr = Field(min_length=12)
    home: Path = Path("~/.local/share/signalops")
    handoff: Path | None = None
    config_path: Path = Path("proxy_config.yaml")
    host: str = "127.0.0.1"
    port: int = Field(default=4001, ge=1, le=65_535)
    roles: Annotated[frozenset[Role], NoDecode] = frozenset(Role)
    pool_size: int = Field(default=5, ge=3, le=50)  # the loops take one each
    statement_timeout_s: float = Field(default=10.0, gt=0)
    database_wait_s: float = Field(default=60.0, ge=0)
    review_double: float = Field(default=DOUBLE, ge=0, le=1)
    min_edit: float = Field(default=0.0, ge=0, le=1)

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [role.strip() for role in value.split(",") if role.strip()] or list(Role)

    @property
    def volume(self) -> Path:
        """The directory that proxy and sidecar share."""
        return (self.handoff or self.home / "handoff").expanduser()
