"""The commands that start things: `signalops up`, `signalops demo`, `signalops lab`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from sidecar.store.database import wait_for_database
from sidecar.up.home import Home
from sidecar.up.session import session
from sidecar.up.stack import Plan, Running, stack

POSTS = 1_200  # some four times what the acts usually need
DATABASE_WITHIN_S = 60.0

console = Console(stderr=True)


def up(  # noqa: PLR0913 (each is an option of the command)
    *,
    config: Annotated[
        Path, typer.Option(help="LiteLLM's configuration; edits are live within a second.")
    ] = Path("proxy_config.yaml"),
    proxy_port: Annotated[int, typer.Option(help="Where OpenAI clients connect.")] = 4000,
    sidecar_port: Annotated[int, typer.Option(help="Where the admin API listens.")] = 4001,
    workers: Annotated[int, typer.Option(min=1, help="Proxy processes.")] = 2,
    home: Annotated[
        Path | None,
        typer.Option(envvar="SIGNALOPS_HOME", help="Where state lives.", show_default=False),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="SIGNALOPS_DATABASE_URL",
            help="A PostgreSQL of yours, 15 or newer; embedded when absent.",
            show_default=False,
        ),
    ] = None,
    database_within: Annotated[
        float, typer.Option(help="Seconds to wait for a database of yours.")
    ] = DATABASE_WITHIN_S,
) -> None:
    """Run PostgreSQL, the sidecar and the proxy on this machine until Ctrl-C.

    Exit codes: 0 stopped, 2 refused (home or port in use, bad configuration), 3 the
    database cannot be reached.
    """
    environment = os.environ | ({} if home is None else {"SIGNALOPS_HOME": str(home)})
    plan = Plan(
        home=Home.locate(environment, Path.home()),
        config=config,
        proxy_port=proxy_port,
        sidecar_port=sidecar_port,
        workers=workers,
        database_url=database_url or None,
    )
    with session() as stop:
        if plan.database_url is not None:
            asyncio.run(
                wait_for_database(
                    plan.database_url, timeout_s=database_within, on_wait=console.print
                )
            )
        say = lambda event: console.print(str(event), highlight=False)  # noqa: E731
        with stack(plan, os.environ, stop, on_event=say) as running:
            _introduce(running, plan)
            running.supervisor.wait()


def demo(
    *,
    posts: Annotated[
        int, typer.Option(min=1, help="Posts to have judged in an act, at most.")
    ] = POSTS,
    exit_: Annotated[
        bool, typer.Option("--exit", help="End once the result is shown.")
    ] = False,
) -> None:
    """Try everything on this machine, with a laboratory provider in place of a real one."""
    # Like the laboratory a process of its own, for the sake of its imports.
    _become("sidecar.up.demo", "--posts", str(posts), *(("--exit",) if exit_ else ()))


def lab(context: typer.Context) -> None:
    """Run the laboratory provider alone; its options are listed by `lab -- --help`."""
    # A process of its own: its classifier takes seconds to import, which no other command
    # should wait for.
    _become("sidecar.up.laboratory", *context.args)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the `signalops` application."""
    app.command()(up)
    app.command()(demo)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        lab
    )


def _become(module: str, *arguments: str) -> NoReturn:
    """Go on as another program of ours, in this very process."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 (no shell is wanted)


def _introduce(running: Running, plan: Plan) -> None:
    """Say where things are, and on the first start how the keys are used."""
    console.print(f"\nproxy   {running.proxy_url}/v1\nsidecar {running.sidecar_url}")
    if running.is_first_start:
        console.print(
            f"""
Two keys were made; they are in {plan.home.env_file} (only you can read it):
  LITELLM_MASTER_KEY   may do everything at the proxy
  SIGNALOPS_ADMIN_KEY  may do everything at the admin API; the signalops command reads it there
Provider keys (OPENAI_API_KEY=...) may be added to that file; start again to use them.
Make a key for a project: signalops key create --project mine --scope infer,read
""",
            highlight=False,
            markup=False,
        )
