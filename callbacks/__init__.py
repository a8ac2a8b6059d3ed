"""Guests inside the LiteLLM proxy: they route, record, and never hurt.

Offers the two names a `proxy_config.yaml` uses, and makes what they stand for when
LiteLLM first asks, so that importing a file of this package starts nothing::

    litellm_settings: {callbacks: ["callbacks.handler"]}
    general_settings: {custom_auth: callbacks.auth}
"""

import importlib

NAMES = ("handler", "auth")


def __getattr__(name: str) -> object:
    """Make the handler and the auth function of this process, together and once."""
    if name not in NAMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    made = importlib.import_module("callbacks.assembly").assemble()
    # Both at once: the import has put modules of these names here, which LiteLLM must not get.
    globals().update(zip(NAMES, made, strict=True))
    return globals()[name]
