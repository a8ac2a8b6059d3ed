"""Build a dataset in another process: `python -m tests.builds URL KIND` prints its hash."""

import asyncio
import sys
from datetime import UTC, datetime

from sidecar.core.datasets import Kind, Spec
from sidecar.service.datasets import build
from sidecar.store.database import create_engine
from sidecar.store.events import By


async def main(url: str, kind: str) -> None:
    """Build it of the default project."""
    engine = create_engine(url)
    try:
        spec = Spec(kind=Kind(kind), project_id="default")
        made, is_new = await build(engine, spec, by=By("test", datetime.now(UTC), None))
    finally:
        await engine.dispose()
    sys.stdout.write(f"{made.hash} {is_new}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
