"""What does a proxy worker run? Puts settings, worker, handler and auth together."""

import sys
from typing import Any

from callbacks.auth import Auth, make_auth
from callbacks.handler import Handler
from callbacks.settings import Settings
from callbacks.worker import Worker


def assemble() -> tuple[Handler, Auth]:
    """Build the two guests of this process from its environment."""
    settings = Settings()
    master = settings.litellm_master_key
    worker = Worker(settings.volume, fsync=settings.journal_fsync)
    auth = make_auth(worker, master.get_secret_value() if master else None)
    return Handler(worker, _router), auth


def _router() -> Any:  # noqa: ANN401  (LiteLLM's router, known by the protocol we state)
    # Looked up, not imported: it exists once LiteLLM has read its configuration.
    server = sys.modules.get("litellm.proxy.proxy_server")
    return getattr(server, "llm_router", None)
