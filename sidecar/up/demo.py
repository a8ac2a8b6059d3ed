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
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import httpx
from openai import AsyncOpenAI
from rich.console import Console

from sidecar.up.acts import BETTER, BROKEN, Act, Played, Stage
from sidecar.up.home import Home
from sidecar.up.laboratory.posts import demo_posts
from sidecar.up.session import session
from sidecar.up.stack import Plan, Running, free_port, stack

SIGNALOPS = Path(sys.executable).with_name("signalops")


def run_demo(stop: threading.Event, console: Console, *, posts: int, stay: bool) -> None:
    """Start everything, play the two acts, show what they show, and keep running until `stop`.

    Args:
        posts: How many to send in an act at most; the sample is repeated.
        stay: Keep running after the results are shown.

    Raises:
        SignalopsError: A part does not start, or calls do not arrive in the database.
    """
    with tempfile.TemporaryDirectory(prefix="signalops-demo-") as folder:
        plan = _plan(Path(folder))
        console.print(f"Starting everything; the logs are in {plan.home.logs}")
        say = lambda event: console.print(f"  {event}", highlight=False)  # noqa: E731
        with stack(plan, os.environ, stop, on_event=say) as running:
            key = _project_key(running)
            acts = []
            for act in (BETTER, BROKEN):
                acts.append(asyncio.run(_play(act, running, key, console, stop, posts)))
                if stop.is_set():
                    return
                _show_results(running, console, acts[-1])
            if stay:
                _say_what_next(running, key, plan.config, console, acts[-1])
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


async def _play(
    act: Act, running: Running, key: str, console: Console, stop: threading.Event, most: int
) -> Played:
    proxy = AsyncOpenAI(base_url=f"{running.proxy_url}/v1", api_key=key, max_retries=0)
    with _admin(running) as admin:
        async with proxy:
            stage = Stage(proxy, admin, console, stop, demo_posts(), most)
            return await stage.play(act)


def _show_results(running: Running, console: Console, played: Played) -> None:
    """Print the table a user gets by `signalops experiment results`."""
    console.print(
        f"\n{played.state.replace('_', ' ').upper()} after {played.sent} posts, "
        f"{played.failed} of them answered by an error.\n"
    )
    environment = os.environ | {
        "SIGNALOPS_URL": running.sidecar_url,
        "SIGNALOPS_ADMIN_KEY": running.admin_key,
    }
    command = [str(SIGNALOPS), "experiment", "results", played.experiment_id]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 (our own)


def _say_what_next(
    running: Running, key: str, config: Path, console: Console, played: Played
) -> None:
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

The promotion holds until somebody edits the group. Change a weight in
{config}
and see it live:

  export SIGNALOPS_URL={running.sidecar_url} SIGNALOPS_ADMIN_KEY={running.admin_key}
  {SIGNALOPS} routes show
  {SIGNALOPS} experiment decisions {played.experiment_id}
  {SIGNALOPS} experiment looks {played.experiment_id}

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
    parser.add_argument(
        "--posts", type=int, required=True, help="how many to have judged in an act, at most"
    )
    parser.add_argument("--exit", action="store_true", help="end once the result is shown")
    asked = parser.parse_args(arguments)
    with session() as stop:
        run_demo(stop, Console(), posts=asked.posts, stay=not asked.exit)


if __name__ == "__main__":
    main(sys.argv[1:])
