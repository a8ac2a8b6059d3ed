"""How is a long list told? Page by page, each saying where the next one begins."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from sidecar.core.errors import Invalid

Item = TypeVar("Item")

Place = tuple[datetime, str]
"""Moment and id of the last item of a page."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, newest first.

    Args:
        next: What to send as `after` for the page that follows; None on the last.
    """

    items: Sequence[Item]
    next: str | None


def encode_place(place: Place) -> str:
    """Write a place as a cursor, whose form is nobody's business."""
    text = json.dumps([place[0].isoformat(), place[1]])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_place(cursor: str | None) -> Place | None:
    """Read a cursor back.

    Raises:
        Invalid: It is none of ours.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, last_id = json.loads(base64.urlsafe_b64decode(padded))
        at, last = datetime.fromisoformat(moment).astimezone(UTC), str(last_id)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        msg = "'after' is no cursor; send what the page before had as 'next'"
        raise Invalid(msg) from error
    return at, last.replace("\x00", "")


def page_of(found: Sequence[Item], limit: int, places: Sequence[Place]) -> Page[Item]:
    """Make a page.

    Args:
        found: Up to one item more than the limit.
        places: Of each item found.
    """
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], encode_place(places[limit - 1]))


def numbered_page(found: Sequence[Item], limit: int, numbers: Sequence[int]) -> Page[Item]:
    """Make a page of what is numbered as it was added.

    Args:
        found: Up to one item more than the limit.
        numbers: Of each item found.
    """
    more = len(found) > limit
    return Page(found[:limit], str(numbers[limit - 1]) if more else None)
