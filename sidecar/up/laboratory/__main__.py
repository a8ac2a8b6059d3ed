"""The command `python -m sidecar.up.laboratory`: serve the laboratory on loopback.

Once it answers it writes one line of JSON with its address; whoever started it waits for
that line. It exits with 2 when it cannot start as asked.
"""

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import orjson
import uvicorn

from sidecar.core.errors import Invalid, SignalopsError, Unavailable
from sidecar.up.laboratory.app import create_app
from sidecar.up.laboratory.settings import default_behaviours, load_behaviours

LOOPBACK = "127.0.0.1"
CANNOT_START = 2
GRACE_S = 2  # a hanging call must not hold up the end


class Server(uvicorn.Server):
    """Says where it listens as soon as it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then write the ready line."""
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            url = f"http://{LOOPBACK}:{port}/v1"
            line = orjson.dumps({"event": "laboratory.ready", "port": port, "url": url})
            sys.stdout.write(line.decode() + "\n")
            sys.stdout.flush()


def run(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it.

    Returns:
        The exit code: 0, or `CANNOT_START` with the reason on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        app = create_app(
            load_behaviours(options.models) if options.models else default_behaviours(),
            api_key=_key(options.api_key_env),
            keep_requests=options.keep_requests,
        )
        app.state.laboratory.prepare()
        listener = _listen(options.port)
    except SignalopsError as error:
        sys.stderr.write(f"laboratory: {error}\n")
        return CANNOT_START
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_cut)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,  # longer than a proxy pools its connections, so it never races
    )
    # After a clean end uvicorn raises the signal again, and Ctrl-C would end in a traceback.
    with listener, suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.up.laboratory",
        description="An OpenAI-compatible provider on loopback that really classifies posts.",
    )
    parser.add_argument("--port", type=int, default=4010, help="0 picks a free one")
    parser.add_argument(
        "--models", type=Path, help="JSON file with the models; default: the demo's"
    )
    parser.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="environment variable with the only key to accept; default: any key",
    )
    parser.add_argument(
        "--keep-requests",
        type=int,
        default=200,
        help="how many of the last requests GET /lab/requests can show",
    )
    return parser


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        msg = f"the environment variable {variable!r}, which is to hold the key, is not set"
        raise Invalid(msg)
    return key


def _listen(port: int) -> socket.socket:
    """Take the port before serving, so that a taken one is told plainly."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        msg = f"cannot listen on {LOOPBACK}:{port} ({error}); --port 0 picks a free port"
        raise Unavailable(msg) from error
    return listener


def _is_not_a_cut(record: logging.LogRecord) -> bool:
    """Keep quiet about connections that were cut on purpose; the counts tell of them."""
    return "without completing response" not in record.getMessage()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
