"""The sidecar's application, running in the test's own process."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI

from sidecar.api.app import create_app
from sidecar.api.settings import Settings

ADMIN_KEY = "so-admin-of-the-tests"
PATIENCE_S = 20.0
_names = itertools.count()


async def until(condition: Callable[[], Any]) -> Any:
    """Ask again until the answer is true."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Start an application, and stop it in the task that started it."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.router.lifespan_context(app):
            started.set()
            await stop.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if not task.done():
            yield
    finally:
        stop.set()
        await task


@dataclass
class Sidecar:
    """A running application, and what tests do with it."""

    app: FastAPI
    config: Path
    volume: Path

    def __post_init__(self) -> None:
        self.admin = self.client(ADMIN_KEY)

    def client(self, key: str | None) -> httpx.AsyncClient:
        """Ask with another key, or with none."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # What the application does not foresee must be answered, too.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(
            transport=transport, base_url="http://sidecar", headers=headers
        )

    def write(self, values: Mapping[str, Any] | str) -> None:
        """Replace the YAML at once, as an editor does."""
        hidden = self.config.with_suffix(f".{next(_names)}")
        hidden.write_text(values if isinstance(values, str) else yaml.safe_dump(dict(values)))
        hidden.replace(self.config)

    async def routes(self) -> dict[str, Any]:
        """Ask for the routes."""
        answer = (await self.admin.get("/v1/routes")).raise_for_status().json()
        return {**answer, "groups": {group["name"]: group for group in answer["groups"]}}

    async def when(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the routes are as they should be."""

        async def look() -> dict[str, Any] | None:
            found = await self.routes()
            return found if condition(found) and self._is_written(found) else None

        return dict(await until(look))

    def _is_written(self, found: Mapping[str, Any]) -> bool:
        """Whether the file, which comes after the commit, is that of these routes."""
        path = self.volume / "routes.json"
        published = json.loads(path.read_text())["generation"] if path.exists() else 0
        return bool(published == found["generation"])

    async def key(self, **more: Any) -> str:
        """Make a key."""
        body = {"project_id": "tests", "scopes": ["read"], **more}
        return str(
            (await self.admin.post("/v1/keys", json=body)).raise_for_status().json()["key"]
        )

    async def experiment(self, **more: Any) -> dict[str, Any]:
        """Plan an experiment on the judge."""
        body = {"group": "judge", "shares": {"primary": 0.5, "canary": 0.5}, **more}
        made = await self.admin.post("/v1/experiments", json=body)
        return dict(made.raise_for_status().json())

    async def do(self, experiment_id: str, action: str, **body: Any) -> dict[str, Any]:
        """Take a step with an experiment."""
        done = await self.admin.post(f"/v1/experiments/{experiment_id}/{action}", json=body)
        return dict(done.raise_for_status().json())


@asynccontextmanager
async def sidecar(
    database_url: str, folder: Path, values: Mapping[str, Any] | str, **settings: Any
) -> AsyncIterator[Sidecar]:
    """Run the application on a database, and wait for its first routes."""
    config = folder / "proxy_config.yaml"
    chosen = Settings(
        database_url=database_url,
        admin_key=ADMIN_KEY,
        handoff=folder / "handoff",
        config_path=config,
        **{"roles": "admin,publish", **settings},
    )
    app = create_app(chosen)
    found = Sidecar(app, config, folder / "handoff")
    found.write(values)
    async with running(app), found.admin:
        publisher = app.state.context.publisher
        if publisher is not None:
            await until(lambda: publisher.status.has_decided)
        yield found
