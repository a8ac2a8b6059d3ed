"""How is a stored request made whole again?"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.contents import join, references
from sidecar.service.documents import Encode, decode
from sidecar.store import contents


async def parts_of(tx: AsyncConnection, skeletons: Iterable[bytes]) -> dict[bytes, bytes]:
    """Fetch the parts of some requests that exist, by hash."""
    hashes = {digest for skeleton in skeletons for digest in references(skeleton)}
    return await contents.get(tx, hashes) if hashes else {}


def whole(skeleton: bytes, parts: Mapping[bytes, bytes]) -> tuple[Mapping[str, Any], Encode]:
    """Put a request together, with the encoder that writes it without a loss.

    Raises:
        NotFound: A part is missing.
    """
    request, encode = decode(join(skeleton, parts))
    return cast("Mapping[str, Any]", request), encode
