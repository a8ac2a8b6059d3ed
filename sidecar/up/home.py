"""Where does signalops keep its state, and who owns it right now?

<home>/            0700 when created here
    .env           0600  generated keys, and the provider keys a user adds
    lock           held by the running `signalops up`
    handoff/       0700  journal and routes: what proxy and sidecar share
    logs/          0700  one log a process
    postgres/      0700  the embedded database (see `sidecar.up.postgres`)
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.core.errors import Conflict, Invalid
from sidecar.up.files import Held, held, private_dir, tighten, write_private

MASTER_KEY = "LITELLM_MASTER_KEY"
ADMIN_KEY = "SIGNALOPS_ADMIN_KEY"
PREFIXES = {MASTER_KEY: "sk-", ADMIN_KEY: "so-"}

LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
HEADER = """\
# Written by the first `signalops up`. One NAME=value a line, without quotes.
# Provider keys (OPENAI_API_KEY=...) may be added here; the proxy gets them all.
"""


class HomeInUse(Conflict):
    """Another `signalops up` runs on this home."""


@dataclass(frozen=True, slots=True)
class Home:
    """The directory that holds everything signalops keeps on this machine."""

    root: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str], user_home: Path) -> "Home":
        """Find the home: `SIGNALOPS_HOME`, or a place below the user's own directory.

        Args:
            environment: Where `SIGNALOPS_HOME` is looked up; empty counts as unset. A
                leading `~/` is the user's directory.
            user_home: The user's own directory.
        """
        named = environment.get("SIGNALOPS_HOME", "").strip()
        if not named:
            return cls(user_home / ".local" / "share" / "signalops")
        if named == "~" or named.startswith("~/"):
            return cls(user_home / named[2:])
        return cls(Path(named).absolute())

    @property
    def postgres(self) -> Path:
        """The embedded database's files."""
        return self.root / "postgres"

    @property
    def handoff(self) -> Path:
        """The volume that proxy and sidecar share."""
        return self.root / "handoff"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.root / "logs"

    @property
    def env_file(self) -> Path:
        """Generated keys and the user's provider keys."""
        return self.root / ".env"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that owns the home."""
        return self.root / "lock"

    def log_of(self, name: str) -> Path:
        """Say where the process called `name` logs."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Create what is missing, closed to others; what exists stays as it is.

        Raises:
            Invalid: A file stands where a directory is needed, or may not be created.
        """
        for path in (self.root, self.handoff, self.logs, self.postgres):
            private_dir(path)


@contextmanager
def own(home: Home) -> Iterator[None]:
    """Be the only owner of a prepared home for as long as the block runs.

    Raises:
        HomeInUse: Another process owns it.
    """
    try:
        with held(home.lock_file):
            yield
    except Held as error:
        if error.path != home.lock_file:
            raise
        msg = (
            f"signalops is already running on {home.root} ({error.holder}); stop it first, "
            "or set SIGNALOPS_HOME to another directory"
        )
        raise HomeInUse(msg) from error


def parse_env(text: str) -> dict[str, str]:
    """Read `NAME=value` lines; blank lines and lines that begin with `#` say nothing.

    A value is everything after the first `=` up to the end of the line, without
    surrounding blanks. What other tools read in different ways (quotes, `export`,
    blanks around `=`, a comment after the value) is refused, not guessed at.

    Raises:
        Invalid: A line is something else, or a name stands twice. The message has the
            line's number and never its value.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, value = _pair(line.strip(), number)
        if name in found:
            msg = f"line {number}: {name} stands twice; keep one of them"
            raise Invalid(msg)
        found[name] = value
    return found


def read_env(path: Path) -> dict[str, str]:
    """Read an env file, closing it to others first; a missing one is empty.

    Raises:
        Invalid: It is not UTF-8, or a line is no `NAME=value`.
    """
    try:
        tighten(path)
        return parse_env(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 (byte {error.start})"
        raise Invalid(msg) from error
    except Invalid as error:
        msg = f"{path}, {error}"
        raise Invalid(msg) from error


def first_start_secrets(
    home: Home, *, token: Callable[[], str] = lambda: secrets.token_urlsafe(32)
) -> bool:
    """Generate the master and the admin key where the env file has none.

    Every other line stays as it is, comments too; a name without a value counts as absent.

    Args:
        home: Prepared, and owned by this process.
        token: Gives a new unguessable string at each call.

    Returns:
        Whether a key was generated: the moment to tell the user how to use it.

    Raises:
        Invalid: The env file that exists cannot be read.
    """
    present = read_env(home.env_file)
    missing = [name for name in PREFIXES if not present.get(name)]
    if not missing:
        return False
    existing = HEADER
    if home.env_file.exists():
        existing = home.env_file.read_text(encoding="utf-8-sig")
    without_value = {f"{name}=" for name in missing}
    lines = existing.removesuffix("\n").split("\n")
    kept = [line for line in lines if line.strip() not in without_value]
    made = [f"{name}={PREFIXES[name]}{token()}" for name in missing]
    write_private(home.env_file, "\n".join([*kept, *made]) + "\n")
    return True


def _pair(line: str, number: int) -> tuple[str, str]:
    """Split one line, refusing what could be read in two ways."""
    match = LINE.fullmatch(line)
    if match is None:
        msg = f"line {number} is no NAME=value (no blanks around '=', no 'export')"
        raise Invalid(msg)
    name, value = match[1], match[2].strip()
    if value[:1] in {'"', "'"}:
        msg = f"line {number}: the value of {name} begins with a quote; write it without"
        raise Invalid(msg)
    if "\0" in value or " #" in value:
        msg = f"line {number}: the value of {name} holds a NUL or ' #'; comment on another line"
        raise Invalid(msg)
    return name, value
