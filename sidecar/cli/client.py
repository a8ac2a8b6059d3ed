"""How does a command reach the admin API, and what does the user see when it cannot?

Every failure ends the command with a sentence and an exit code: 1 for what the API refused,
2 for what was typed wrong, 3 for an API that did not answer.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import httpx
import typer

from sidecar.cli.output import complain

REFUSED = 1
MISTYPED = 2
UNREACHABLE = 3

TIMEOUT_S = 30.0
DEFAULT_URL = "http://127.0.0.1:4001"
KEY_NAMES = ("SIGNALOPS_ADMIN_KEY", "SIGNALOPS_KEY")
_NOT_UTF8 = "what was typed is not UTF-8"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")

Url = Annotated[
    str,
    typer.Option("--url", envvar="SIGNALOPS_URL", help="Where the admin API listens."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]
Reason = Annotated[str | None, typer.Option(help="Why; it goes into the audit.")]


class Api:
    """The admin API, as a command asks it."""

    def __init__(self, url: str, key: str) -> None:
        """Connect to nothing yet.

        Args:
            url: With scheme and host, without a path.
        """
        parts = _split(url)
        if parts is None:
            msg = f"--url must be an http or https address, found {url!r}"
            raise stop(msg, MISTYPED)
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        # A proxy of the environment must not get the key of a server on this machine.
        self._trust_env = parts not in _LOOPBACK

    def get(self, path: str, **params: object) -> Any:  # noqa: ANN401  (any JSON value)
        """Ask for something; parameters that are None are left out."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self._send("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        """Make or do something; fields that are None are left out."""
        return self._send("POST", path, json=_given(body or {}))

    def put(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401
        """Change something."""
        return self._send("PUT", path, json=_given(body))

    def pages(self, path: str, limit: int, **params: object) -> list[Any]:
        """Ask page by page until there are so many items, or no more."""
        items: list[Any] = []
        after = None
        while len(items) < limit:
            size = min(limit - len(items), 200)
            page = self.get(path, limit=size, after=after, **params)
            items += page["items"]
            after = page["next"]
            if after is None:
                break
        return items

    def ready(self) -> tuple[int, Any]:
        """Ask for the health; it is an answer, too, that something is not ready."""
        response = self._request("GET", "/health/ready")
        return response.status_code, self._read(response)

    def _send(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        response = self._request(method, path, **options)
        answer = self._read(response)
        if response.is_success:
            return answer
        raise self._refusal(response, answer)

    def _refusal(self, response: httpx.Response, answer: object) -> typer.Exit:
        """Say why the API refused, or that it could not."""
        detail = answer.get("detail") if isinstance(answer, dict) else None
        unavailable = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        msg = f"refused ({response.status_code}): {detail or response.reason_phrase}"
        return stop(msg, UNREACHABLE if unavailable else REFUSED)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        with self._reached(), self._client() as client:
            return client.request(method, self._url + path, **options)

    def _client(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, timeout=TIMEOUT_S, trust_env=self._trust_env)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say it if the API cannot be reached."""
        try:
            yield
        except UnicodeEncodeError:
            raise stop(_NOT_UTF8, MISTYPED) from None
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            msg = f"no answer from {self._url}: {what}. Is 'signalops up' running?"
            raise stop(msg, UNREACHABLE) from None

    def _read(self, response: httpx.Response) -> Any:  # noqa: ANN401
        try:
            return response.json()
        except ValueError:
            msg = (
                f"{self._url} answered {response.status_code} with no JSON; "
                "is that the sidecar's address?"
            )
            raise stop(msg, UNREACHABLE) from None


def connect(url: str) -> Api:
    """Reach the API with the key of the environment, or of the home's `.env`."""
    return Api(url, find_key(os.environ, Path.home()))


def find_key(environment: Mapping[str, str], user_home: Path) -> str:
    """Find the key to send: of the environment, else of the home's `.env`."""
    for name in KEY_NAMES:
        if environment.get(name):
            return environment[name]
    named = environment.get("SIGNALOPS_HOME", "").strip()
    home = Path(named).expanduser() if named else user_home / ".local/share/signalops"
    written = read_env(home / ".env")
    for name in KEY_NAMES:
        if written.get(name):
            return written[name]
    msg = (
        f"no API key: set {KEY_NAMES[0]} or {KEY_NAMES[1]}, or start 'signalops up' once, "
        f"which writes one to {home / '.env'}"
    )
    raise stop(msg, MISTYPED)


def read_env(path: Path) -> dict[str, str]:
    """Read the `NAME=value` lines of a file; one that is absent has none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{path} cannot be read: {why}"
        raise stop(msg, MISTYPED) from None
    found = (_LINE.fullmatch(line.strip()) for line in lines)
    return {match[1]: match[2].strip() for match in found if match}


def stop(message: str, code: int) -> typer.Exit:
    """Tell the user what is wrong; the caller raises what this returns."""
    complain(message)
    return typer.Exit(code)


def part(text: str) -> str:
    """Write an id as one part of a path."""
    if text in {"", ".", ".."}:
        msg = f"{text!r} is no id"
        raise stop(msg, MISTYPED)
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise stop(_NOT_UTF8, MISTYPED) from None


def _given(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}


def _split(url: str) -> str | None:
    """Return an address's host, or None when it is no address."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            return None
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname
