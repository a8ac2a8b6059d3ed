"""How far do reviewers agree?"""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.agreement import Agreement, Judged, agreement_of
from sidecar.store import agreement as store

MOST_COMPARED = 100_000  # calls that two or more people judged


async def agreement(
    tx: AsyncConnection,
    judged: Judged,
    *,
    project_id: str | None,
    groups: Collection[str] | None = None,
) -> Agreement:
    """Say how far reviewers agree on what two or more of them judged.

    Args:
        project_id: Only this project's calls; None for all.
        groups: Only these groups' calls; None for all.
    """
    found = await store.judged_twice(
        tx, judged, project_id=project_id, groups=groups, limit=MOST_COMPARED + 1
    )
    agreed = agreement_of(found[:MOST_COMPARED])
    return replace(agreed, is_cut=len(found) > MOST_COMPARED)
