"""Traffic for measurements: threads that ask, and remember what was acknowledged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import openai

PAUSE_S = 0.05  # after a refusal, so that a dead proxy is not asked thousands of times


@dataclass
class Load:
    """What a load saw, growing while it runs.

    Args:
        acknowledged: Call ids whose whole answer the client has.
        errors: (moment, class of the error), moments on the monotonic clock.
    """

    acknowledged: list[str] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)


@contextmanager
def load(url: str, key: str, *, threads: int, stream_every: int = 5) -> Iterator[Load]:
    """Ask from several threads for as long as the block lasts.

    Args:
        stream_every: Every so-manyth request is streamed.
    """
    seen, over = Load(), threading.Event()
    workers = [
        threading.Thread(target=_ask, args=(url, key, number, stream_every, seen, over))
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        over.set()
        for worker in workers:
            worker.join()


def _ask(
    url: str, key: str, number: int, stream_every: int, seen: Load, over: threading.Event
) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)
    count = 0
    while not over.is_set():
        count += 1
        try:
            call_id = ask_once(client, f"{number}-{count}", stream=count % stream_every == 0)
        except (openai.OpenAIError, httpx.HTTPError) as error:  # the client lets some through
            seen.errors.append((time.monotonic(), type(error).__name__))
            time.sleep(PAUSE_S)
        else:
            seen.acknowledged.append(call_id)


def ask_once(client: openai.OpenAI, unit: str, *, stream: bool) -> str:
    """Ask once and read the whole answer; gives the call's id."""
    raw = client.chat.completions.with_raw_response.create(
        model="judge",
        messages=[{"role": "user", "content": f"Our site is down again ({unit})"}],
        extra_headers={"x-signalops-unit": unit},
        stream=stream,
    )
    answer = raw.parse()
    if stream:
        for _ in answer:
            pass
    return raw.headers["x-signalops-call-id"]
