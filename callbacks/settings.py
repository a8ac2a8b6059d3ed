"""What does the proxy's side need to be told? Three things, all with a default."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of a proxy worker; each is `SIGNALOPS_<NAME>` in the environment.

    Args:
        home: Where state lives; the shared volume is `handoff` in it.
        handoff: The shared volume, when it is not in `home`.
        journal_fsync: Wait for the disk at every record, so that a power cut loses
            nothing either.
        litellm_master_key: LiteLLM's own variable: the key that may do everything.
    """

    model_config = SettingsConfigDict(env_prefix="SIGNALOPS_", frozen=True, extra="ignore")

    home: Path = Path("~/.local/share/signalops")
    handoff: Path | None = None
    journal_fsync: bool = False
    litellm_master_key: SecretStr | None = Field(None, validation_alias="LITELLM_MASTER_KEY")

    @property
    def volume(self) -> Path:
        """The directory that proxy and sidecar share."""
        return (self.handoff or self.home / "handoff").expanduser()
