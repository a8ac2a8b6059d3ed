"""How many words a second does the sidecar keep, in batches and one by one?

    python -m tests.bench.feedback

Prints `name: value` lines: words a second sent over HTTP by one client in batches of 1000
edits with keys, each of a call of its own and so each with a pair, and one by one. Ends with
1 when not every word is kept.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import httpx

from sidecar.store.database import create_engine
from sidecar.store.migrate import migrate
from tests.apis import ADMIN_KEY
from tests.bench.grounds import grounds
from tests.bench.measure import median
from tests.drafts import draft_record, drain_records
from tests.served import served

BATCH = 1000
BATCHES = 8
SINGLES = 300
TEXT = "Thank you for telling us; we look into it. " * 10  # a short mail
PATH = "/v1/feedback"


async def fill(url: str, folder: Path, number: int) -> list[str]:
    """Store so many answered drafts, each to a prompt of its own."""
    engine = create_engine(url)
    await migrate(engine, now=datetime.now(UTC))
    now = datetime.now(UTC)
    records = [draft_record(now, TEXT, f"post {place} " * 20) for place in range(number)]
    calls = await drain_records(engine, folder, records)
    await engine.dispose()
    return calls


def item_of(call_id: str) -> dict[str, object]:
    """Write the edit of a draft."""
    edit = f"{TEXT[:-20]} Yours, Ann"
    return {"call_id": call_id, "reviewer": "ann", "key": call_id, "edit": edit}


def batch_s(client: httpx.Client, calls: Sequence[str]) -> float:
    """Measure a batch from end to end."""
    body = {"items": [item_of(call_id) for call_id in calls]}
    began = time.perf_counter()
    answer = client.post(PATH, json=body).raise_for_status()
    took = time.perf_counter() - began
    if answer.json()["kept"] != len(calls):
        sys.exit(f"only {answer.json()['kept']} of {len(calls)} words were kept")
    return took


def single_s(client: httpx.Client, call_id: str) -> float:
    """Measure one word from end to end."""
    began = time.perf_counter()
    answer = client.post(PATH, json=item_of(call_id))
    took = time.perf_counter() - began
    if answer.status_code != httpx.codes.CREATED:
        sys.exit(f"a word was answered with {answer.status_code}")
    return took


def main() -> None:
    """Measure batches, then single words."""
    with redirect_stdout(sys.stderr), grounds() as (url, folder):
        calls = asyncio.run(fill(url, folder, BATCH * BATCHES + SINGLES))
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        with (
            served(url, folder) as command,
            httpx.Client(base_url=command.url, headers=headers, timeout=60) as client,
        ):
            batches = [
                batch_s(client, calls[first : first + BATCH])
                for first in range(0, BATCH * BATCHES, BATCH)
            ]
            singles = [single_s(client, call_id) for call_id in calls[BATCH * BATCHES :]]
    # The first batch meets a cold process.
    print(f"feedback_per_s: {BATCH / median(batches[1:]):.0f}", flush=True)
    print(f"feedback_single_per_s: {1 / median(singles):.0f}", flush=True)


if __name__ == "__main__":
    main()
