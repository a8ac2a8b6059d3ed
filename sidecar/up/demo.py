"""What does a newcomer see? The whole system on one machine, with a provider of its own.

Run as `python -m sidecar.up.demo`, which is what `signalops demo` becomes.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import httpx
from openai import APIError, AsyncOpenAI
from rich.console import Console
from rich.progress import Progress

from sidecar.core.errors import Unavailable
from sidecar.up.home import Home
from sidecar.up.laboratory.posts import SYSTEM_PROMPT, Post, demo_posts
from sidecar.up.session import session
from sidecar.up.stack import Plan, Running, free_port, stack

CONCURRENCY = 8
STORED_WITHIN_S = 60.0
EXPERIMENT = "yaml-judge"
SIGNALOPS = Path(sys.executable).with_name("signalops")


def run_demo(stop: threading.Event, console: Console, *, posts: int, stay: bool) -> None:
    """Start everything, send posts, show the result, and keep running until `stop`.

    Args:
        posts: How many to send; the sample is repeated when it is smaller.
        stay: Keep running after the result is shown.

    Raises:
        SignalopsError: A part does not start, or calls do not arrive in the database.
    """
    with tempfile.TemporaryDirectory(prefix="signalops-demo-") as folder:
        plan = _plan(Path(folder))
        console.print(f"Starting everything; the logs are in {plan.home.logs}")
        say = lambda event: console.print(f"  {event}", highlight=False)  # noqa: E731
        with stack(plan, os.environ, stop, on_event=say) as running:
            key = _project_key(running)
            failed = asyncio.run(_send(running, key, _cycle(posts), console, stop))
            if stop.is_set():
                return
            _wait_until_stored(running, posts)
            _show_results(running, console, sent=posts, failed=failed)
            if stay and not stop.is_set():
                _say_what_next(running, key, plan.config, console)
                running.supervisor.wait()


def _plan(folder: Path) -> Plan:
    """Lay out a home that is used once, on the usual ports where these are free."""
    # As root the database runs as another user, who must get through to its files here.
    folder.chmod(0o711)
    lab_port = free_port(4010)
    config = folder / "proxy_config.yaml"
    template = resources.files(__package__).joinpath("demo.yaml").read_text(encoding="utf-8")
    config.write_text(
        template.replace("{lab_url}", f"http://127.0.0.1:{lab_port}"), encoding="utf-8"
    )
    return Plan(
        home=Home(folder / "home"),
        config=config,
        proxy_port=free_port(4000),
        sidecar_port=free_port(4001),
        lab_port=lab_port,
    )


def _cycle(count: int) -> list[Post]:
    sample = demo_posts()
    return [sample[number % len(sample)] for number in range(count)]


async def _send(
    running: Running, key: str, posts: Sequence[Post], console: Console, stop: threading.Event
) -> int:
    """Send posts through the `openai` client until all are sent or `stop` is set.

    Returns:
        How many were answered by an error.
    """
    client = AsyncOpenAI(base_url=f"{running.proxy_url}/v1", api_key=key, max_retries=0)
    waiting = asyncio.Semaphore(CONCURRENCY)
    failed = 0

    async def judge(post: Post) -> None:
        nonlocal failed
        async with waiting:
            if stop.is_set():
                return
            try:
                await client.chat.completions.create(
                    model="judge",
                    user=post.author,
                    messages=[
                        {"role": "system", "content": SYSTEM_PROMPT},
                        {"role": "user", "content": post.post_text},
                    ],
                )
            except APIError:
                failed += 1
        progress.advance(task)

    with Progress(console=console) as progress:
        task = progress.add_task("Judging posts", total=len(posts))
        async with asyncio.TaskGroup() as group:
            for post in posts:
                group.create_task(judge(post))
    await client.close()
    return failed


def _wait_until_stored(running: Running, sent: int) -> None:
    """Wait until every call that was sent is a row.

    Raises:
        Unavailable: Some are not, after a minute.
    """
    deadline = time.monotonic() + STORED_WITHIN_S
    stored = 0
    with _admin(running) as admin:
        while time.monotonic() < deadline:
            answer = admin.get(f"/v1/experiments/{EXPERIMENT}/results")
            arms = answer.raise_for_status().json()["arms"]
            stored = sum(arm["calls"] for arm in arms)
            if stored >= sent:
                return
            time.sleep(0.2)
    msg = f"{stored} of {sent} calls are in the database after {STORED_WITHIN_S:g} s"
    raise Unavailable(msg)


def _show_results(running: Running, console: Console, *, sent: int, failed: int) -> None:
    """Print the table a user gets by `signalops experiment results`."""
    console.print(f"\n{sent} posts sent, {failed} answered by an error.\n")
    environment = os.environ | {
        "SIGNALOPS_URL": running.sidecar_url,
        "SIGNALOPS_ADMIN_KEY": running.admin_key,
    }
    command = [str(SIGNALOPS), "experiment", "results", EXPERIMENT]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 (our own)


def _say_what_next(running: Running, key: str, config: Path, console: Console) -> None:
    body = json.dumps(
        {"model": "judge", "messages": [{"role": "user", "content": "our site is down"}]}
    )
    console.print(
        f"""
The proxy   {running.proxy_url}/v1   point any OpenAI client at it
The sidecar {running.sidecar_url}      the admin API; its description is at /openapi.json

Try a call, with a unit of your own (the answer's headers name its arm):

  curl -i {running.proxy_url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -H 'x-signalops-unit: me' \\
    -d '{body}'

Change a weight in {config}
and see it live:

  export SIGNALOPS_URL={running.sidecar_url} SIGNALOPS_ADMIN_KEY={running.admin_key}
  {SIGNALOPS} routes show
  {SIGNALOPS} experiment results {EXPERIMENT}

Ctrl-C ends everything and removes it.
""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _project_key(running: Running) -> str:
    body = {"project_id": "demo", "scopes": ["infer", "read"], "name": "demo"}
    with _admin(running) as admin:
        return str(admin.post("/v1/keys", json=body).raise_for_status().json()["key"])


def _admin(running: Running) -> httpx.Client:
    return httpx.Client(
        base_url=running.sidecar_url,
        headers={"Authorization": f"Bearer {running.admin_key}"},
        timeout=30,
    )


def main(arguments: Sequence[str]) -> None:
    """Run the demo as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.up.demo")
    parser.add_argument("--posts", type=int, required=True, help="how many to have judged")
    parser.add_argument("--exit", action="store_true", help="end once the result is shown")
    asked = parser.parse_args(arguments)
    with session() as stop:
        run_demo(stop, Console(), posts=asked.posts, stay=not asked.exit)


if __name__ == "__main__":
    main(sys.argv[1:])
