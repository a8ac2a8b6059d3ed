"""How is the sidecar started? `python -m sidecar.api`, told everything by its environment.

Exit codes: 2 for settings that are wrong, 3 for a database that did not answer or could
not be migrated.
"""

import asyncio
import logging
import sys

import structlog
import uvicorn
from pydantic import ValidationError
from structlog.typing import Processor

from sidecar.api.app import create_app
from sidecar.api.settings import Settings
from sidecar.core.errors import Invalid, Unavailable
from sidecar.store.database import wait_for_database

BAD_SETTINGS = 2
NO_DATABASE = 3
GRACE_S = 5

log = structlog.get_logger("sidecar")


def main() -> int:
    """Run the sidecar until it is told to stop; returns the exit code."""
    _set_up_logs()
    try:
        settings = Settings()
    except ValidationError as error:
        _tell_settings(error)
        return BAD_SETTINGS
    try:
        asyncio.run(_wait(settings))
    except (Invalid, Unavailable) as error:
        log.critical("database.connect.failed", reason=str(error))
        return BAD_SETTINGS if isinstance(error, Invalid) else NO_DATABASE
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return 0


def _tell_settings(error: ValidationError) -> None:
    """Say which settings are wrong, without what they were: one may be a password."""
    for wrong in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in wrong["loc"]).upper()
        log.critical("settings.read.failed", name=f"SIGNALOPS_{name}", reason=wrong["msg"])


async def _wait(settings: Settings) -> None:
    url = settings.database_url.get_secret_value()

    def say(reason: str) -> None:
        log.warning("database.connect.waiting", reason=reason)

    await wait_for_database(url, settings.database_wait_s, say)


def _set_up_logs() -> None:
    """Write events to standard error, one a line, the libraries' among them."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _RENDERER],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=_RENDERER)
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.INFO)


_RENDERER = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])

if __name__ == "__main__":
    sys.exit(main())
