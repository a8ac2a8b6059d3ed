"""What is known of a call, and which calls are there?"""

import uuid
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.calls import started_at_of
from sidecar.core.errors import Invalid, NotFound
from sidecar.core.recorded import CallFilter, CallPage, CallWithTexts
from sidecar.service.documents import decode
from sidecar.service.requests import parts_of, whole
from sidecar.store import calls

MAX_PAGE = 200


async def get_call(
    tx: AsyncConnection, call_id: str, *, project_id: str | None = None
) -> CallWithTexts:
    """Fetch a call with its exact request and its answer.

    Args:
        project_id: Who asks sees only this project's calls; None for all.

    Raises:
        Invalid: This is no call id.
        NotFound: There is no such call, it is another project's, or it is not drained yet.
    """
    started_at_of(call_id)  # says so if it is no call id
    found = await calls.get(tx, str(uuid.UUID(call_id)))
    if found is None or project_id not in (None, found.call["project_id"]):
        msg = f"there is no call {call_id[:40]!r}; a call is stored within seconds of its end"
        raise NotFound(msg)
    request, _ = whole(found.skeleton, await parts_of(tx, [found.skeleton]))
    answer, _ = decode(found.answer)
    return CallWithTexts(
        **found.call,
        request=request,
        answer=cast("Mapping[str, Any]", answer),
    )


async def page(
    tx: AsyncConnection, only: CallFilter, *, after: str | None = None, limit: int = 50
) -> CallPage:
    """List calls without their texts, newest first.

    Args:
        after: The `next` of the page before; None for the first page.
        limit: From 1 to `MAX_PAGE`.

    Raises:
        Invalid: The cursor or the limit cannot be.
    """
    if not 1 <= limit <= MAX_PAGE:
        msg = f"a page has 1 to {MAX_PAGE} calls, found limit {limit}"
        raise Invalid(msg)
    # One more than asked for tells whether there is a next page.
    found = await calls.page(tx, only, before=after, limit=limit + 1)
    items = found[:limit]
    return CallPage(items, items[-1].call_id if len(found) > limit else None)
