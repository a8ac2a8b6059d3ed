"""What runs on one machine, in which order, and how do the parts find each other?

PostgreSQL, then the sidecar (which migrates it and publishes routes), then the proxy.
Everything is a child of this process; nothing stays when it ends, however it ends.
"""

import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.core.errors import Conflict, Invalid
from sidecar.up.child import Child, Event, ignore
from sidecar.up.guard import Keeper
from sidecar.up.home import ADMIN_KEY, MASTER_KEY, Home, first_start_secrets, own, read_env
from sidecar.up.postgres import EmbeddedPostgres
from sidecar.up.runner import Stopped
from sidecar.up.supervisor import Supervisor

HOST = "127.0.0.1"
LAB_KEY = "LAB_API_KEY"
READY_WITHIN_S = 120.0  # a proxy worker takes 12 s of processor time to start


class PortInUse(Conflict):
    """Something else listens where a part of the stack should."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Args:
        config: LiteLLM's `proxy_config.yaml`.
        workers: Of the proxy.
        lab_port: Where the laboratory provider listens; None leaves it out.
        lab_models: Its behaviours as a JSON file; None for the default ones.
        database_url: A PostgreSQL of the user's; None for the embedded one.
    """

    home: Home
    config: Path
    proxy_port: int = 4000
    sidecar_port: int = 4001
    workers: int = 2
    lab_port: int | None = None
    lab_models: Path | None = None
    database_url: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is ready.

    Args:
        is_first_start: The keys were made just now.
    """

    proxy_url: str
    sidecar_url: str
    lab_url: str | None
    database_url: str
    master_key: str
    admin_key: str
    is_first_start: bool
    supervisor: Supervisor


@contextmanager
def stack(
    plan: Plan,
    environment: Mapping[str, str],
    stop: threading.Event,
    *,
    on_event: Callable[[Event], None] = ignore,
) -> Iterator[Running]:
    """Run everything for as long as the block lasts.

    Args:
        environment: Of this process; provider keys are looked for here and in the home.
        stop: Set to give up waiting for a part that is not ready.

    Raises:
        HomeInUse: Another stack runs on this home.
        PortInUse: Something else listens on a port.
        Invalid: There is no configuration.
        NotReady: A part does not start.
        Stopped: `stop` was set before everything was ready.
    """
    if not plan.config.is_file():
        msg = f"there is no configuration at {plan.config}; name one with --config"
        raise Invalid(msg)
    plan.home.prepare()
    with ExitStack() as owned:
        owned.enter_context(own(plan.home))
        for port in (plan.proxy_port, plan.sidecar_port, plan.lab_port):
            _check_free(port)
        is_first = first_start_secrets(plan.home)
        variables = _variables(plan, environment)
        keeper = owned.enter_context(Keeper(plan.home.log_of("keeper")))
        supervisor = owned.enter_context(Supervisor(stop, on_event=on_event, keeper=keeper))
        url = plan.database_url
        if url is None:
            postgres = EmbeddedPostgres(plan.home, on_event=on_event, guard=keeper)
            supervisor.adopt(postgres)
            url = postgres.start(stop=stop)
        variables["SIGNALOPS_DATABASE_URL"] = url
        for child in _children(plan, variables):
            if not supervisor.launch(child, ready_within_s=READY_WITHIN_S):
                msg = f"stopped before {child.name} was ready"
                raise Stopped(msg)
        yield Running(
            proxy_url=f"http://{HOST}:{plan.proxy_port}",
            sidecar_url=f"http://{HOST}:{plan.sidecar_port}",
            lab_url=None if plan.lab_port is None else f"http://{HOST}:{plan.lab_port}",
            database_url=url,
            master_key=variables[MASTER_KEY],
            admin_key=variables[ADMIN_KEY],
            is_first_start=is_first,
            supervisor=supervisor,
        )


def free_port(wanted: int | None = None) -> int:
    """Give a port that nothing listens on: the wanted one if possible."""
    if wanted is not None:
        try:
            _check_free(wanted)
        except PortInUse:
            return free_port()
        return wanted
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _children(plan: Plan, variables: Mapping[str, str]) -> Iterator[Child]:
    """List the processes in the order of their start."""
    python = sys.executable
    if plan.lab_port is not None:
        models = () if plan.lab_models is None else ("--models", str(plan.lab_models))
        yield Child(
            name="laboratory",
            argv=(python, "-m", "sidecar.up.laboratory", "--port", str(plan.lab_port), *models),
            environment=variables,
            log_path=plan.home.log_of("laboratory"),
            ready=_answers(f"http://{HOST}:{plan.lab_port}/lab/models"),
        )
    yield Child(
        name="sidecar",
        argv=(python, "-m", "sidecar.api"),
        environment=variables,
        log_path=plan.home.log_of("sidecar"),
        ready=_answers(f"http://{HOST}:{plan.sidecar_port}/health/ready"),
    )
    yield Child(
        name="proxy",
        argv=(
            str(Path(python).with_name("litellm")),
            *("--config", str(plan.config.absolute()), "--host", HOST),
            *("--port", str(plan.proxy_port), "--num_workers", str(plan.workers)),
        ),
        environment=variables,
        log_path=plan.home.log_of("proxy"),
        ready=_answers(f"http://{HOST}:{plan.proxy_port}/health/liveliness"),
    )


def _variables(plan: Plan, environment: Mapping[str, str]) -> dict[str, str]:
    """Put together what the children are told."""
    # LiteLLM takes DATABASE_URL for a database of its own, and then asks for Prisma.
    inherited = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    return {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        LAB_KEY: "laboratory",
        **inherited,
        **read_env(plan.home.env_file),
        "SIGNALOPS_HOME": str(plan.home.root),
        "SIGNALOPS_CONFIG_PATH": str(plan.config.absolute()),
        "SIGNALOPS_PORT": str(plan.sidecar_port),
    }


def _check_free(port: int | None) -> None:
    """Refuse a port that something listens on, before anything is started."""
    if port is None:
        return
    with socket.socket() as probe:
        # As uvicorn does: a port that a stopped server just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            msg = f"port {port} is in use; stop what listens there, or choose another port"
            raise PortInUse(msg) from error


def _answers(url: str) -> Callable[[], bool]:
    """Make a question: does that address answer with success?"""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (ours)
                return bool(response.status == 200)  # noqa: PLR2004
        except (OSError, urllib.error.URLError):
            return False

    return ask
