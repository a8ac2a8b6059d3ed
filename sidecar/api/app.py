"""What is the sidecar, put together? The admin API, and the loops that run beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

import structlog
from fastapi import FastAPI

from sidecar.api import (
    calls,
    datasets,
    decisions,
    errors,
    experiments,
    exports,
    feedback,
    health,
    keys,
    metrics,
    models,
    preferences,
    reviews,
    routes,
    totals,
)
from sidecar.api.deps import Context
from sidecar.api.settings import Role, Settings
from sidecar.service.volume import Volume
from sidecar.store.database import create_engine
from sidecar.store.migrate import migrate
from sidecar.worker.control import Controller
from sidecar.worker.drain import Drainer
from sidecar.worker.publish import Publisher

log = structlog.get_logger(__name__)

TITLE = "signalops admin API"
VERSION = "0.1.0"


class Loop(Protocol):
    """Work that goes on beside the API."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; it opens its pool when it starts, not when it is built."""
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description="Experiments, routes, the registry, calls and keys of a signalops stack.",
        lifespan=_lifespan(settings),
        # These pages load their scripts from elsewhere; the schema itself is served.
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    if Role.ADMIN in settings.roles:
        app.include_router(reviews.router)
        app.include_router(datasets.router)
        app.include_router(exports.router)
        app.include_router(preferences.router)
        for module in (experiments, decisions, totals, routes, models, calls, feedback, keys):
            app.include_router(module.router)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(
            settings.database_url.get_secret_value(),
            pool_size=settings.pool_size,
            statement_timeout_s=settings.statement_timeout_s,
        )
        stop = asyncio.Event()
        try:
            await migrate(engine, now=_clock())
            volume = Volume(settings.volume)
            loops: dict[str, Loop] = {}
            publisher = None
            if Role.PUBLISH in settings.roles:
                publisher = Publisher(engine, settings.config_path, volume.root, clock=_clock)
                loops["publish"] = publisher
            drainer = None
            if Role.DRAIN in settings.roles:
                drainer = Drainer(engine, volume.root, clock=_clock)
                loops["drain"] = drainer
            controller = None
            if Role.CONTROL in settings.roles:
                publish = None if publisher is None else publisher.publish_now
                controller = Controller(engine, clock=_clock, publish=publish)
                loops["control"] = controller
            context = Context(
                admin_key=settings.admin_key.get_secret_value(),
                volume=volume,
                engine=engine,
                publisher=publisher,
                drainer=drainer,
                controller=controller,
                review_double=settings.review_double,
                min_edit=settings.min_edit,
            )
            app.state.context = context
            async with asyncio.TaskGroup() as tasks:
                for name, loop in loops.items():
                    tasks.create_task(_keep(name, loop, stop, context.ended_loops), name=name)
                yield
                stop.set()
        finally:
            await engine.dispose()

    return lifespan


async def _keep(name: str, loop: Loop, stop: asyncio.Event, ended: list[str]) -> None:
    """Run a loop; one that ends too early is told of by `/health/live`."""
    try:
        await loop.run(stop)
    except Exception:  # one loop's end must not stop the others, nor the API
        log.exception("loop.run.failed", loop=name)
    if not stop.is_set():
        ended.append(name)


def _clock() -> datetime:
    return datetime.now(UTC)
