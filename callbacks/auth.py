"""How does LiteLLM ask us whether a key is good? Its `custom_auth`, answered from memory."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from callbacks.access import MASTER, Denial, authenticate, check_path
from callbacks.worker import Worker

Auth = Callable[[Request, str], Awaitable[UserAPIKeyAuth]]


def make_auth(worker: Worker, master_key: str | None) -> Auth:
    """Build the function that `general_settings.custom_auth` names."""

    async def auth(request: Request, api_key: str) -> UserAPIKeyAuth:
        try:
            caller = authenticate(
                api_key, table=worker.newest(), master_key=master_key, now=datetime.now(UTC)
            )
            check_path(caller, request.url.path)
        except Denial as denial:
            raise refusal(denial) from denial
        is_master = caller is MASTER
        return UserAPIKeyAuth(
            api_key=None if is_master else caller.key_id,
            key_alias=caller.key_id,
            user_id=caller.project_id,
            user_role=LitellmUserRoles.PROXY_ADMIN if is_master else None,
            models=sorted(caller.models),
            metadata={
                "signalops": {
                    "key_id": caller.key_id,
                    "project_id": caller.project_id,
                    "models": sorted(caller.models),
                }
            },
        )

    return auth


def refusal(denial: Denial) -> ProxyException:
    """Turn a refusal into the error LiteLLM shows in OpenAI's format."""
    return ProxyException(
        message=str(denial), type=denial.kind, param=denial.param, code=denial.status
    )
