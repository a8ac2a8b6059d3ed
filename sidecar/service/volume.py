"""Where on the shared volume is what?"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Volume:
    """The directory that the proxy and the sidecar share."""

    root: Path

    @property
    def journal(self) -> Path:
        """Where the segments are."""
        return self.root / "journal"

    @property
    def workers(self) -> Path:
        """Where the workers' numbers are, and what calls they have under way."""
        return self.root / "workers"

    @property
    def quarantine(self) -> Path:
        """Where lines go that become no row."""
        return self.root / "quarantine"
