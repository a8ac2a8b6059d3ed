"""Which posts does the demo send, and which may a judge learn from?

The sample posts are our own, written for a made-up company. They fall into two halves by
a hash of their id: judges learn from one half and the demo sends the other, so that an
accuracy seen in the demo is an accuracy on posts the judge never met.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import orjson

from sidecar.core.errors import Invalid

SYSTEM_PROMPT = """\
You judge social media posts for Tidepool, a small company that sells uptime monitoring \
and hosted status pages.

Decide whether the author could become a customer:
- "relevant": the author, or their team, needs monitoring, alerts, on-call paging or a \
status page, complains about the one they have, or asks for or compares such tools.
- "maybe": the post is about outages, operations or reliability, but names no need of its \
author's own.
- "irrelevant": anything else, also when it borrows the words (a baby monitor, a power \
outage, a flight's status).

Answer with one JSON object and nothing else:
{"label": "relevant" | "irrelevant" | "maybe", "confidence": 0 to 1, "reasoning": one sentence}
"""


@dataclass(frozen=True, slots=True)
class Post:
    """One sample post; several posts can share an author, who is the natural unit."""

    item_id: str
    post_text: str
    author: str
    label: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and the label a person gave it: all a judge learns from."""

    text: str
    label: str


@cache
def sample_posts() -> tuple[Post, ...]:
    """Read all sample posts, in the order of the file."""
    raw = resources.files(__package__).joinpath("posts.jsonl").read_bytes()
    return tuple(Post(**orjson.loads(line)) for line in raw.splitlines())


def demo_posts() -> tuple[Post, ...]:
    """Return the half that is sent; no judge was trained on it by default."""
    return tuple(post for post in sample_posts() if not _is_for_training(post.item_id))


def training_posts() -> tuple[Post, ...]:
    """Return the half that judges learn from by default."""
    return tuple(post for post in sample_posts() if _is_for_training(post.item_id))


def read_labelled(path: Path | None) -> tuple[Labelled, ...]:
    """Read what a judge is to learn from.

    Args:
        path: JSONL with `post_text` and `label` in each line, other keys ignored.
            `None` means our own training half.

    Raises:
        Invalid: The file cannot be read, a line has another shape, or fewer than two
            labels occur.
    """
    if path is None:
        return tuple(Labelled(post.post_text, post.label) for post in training_posts())
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"training file {str(path)!r} cannot be read: {error.strerror}"
        raise Invalid(msg) from error
    found = tuple(_labelled_lines(path, raw.splitlines()))
    labels = sorted({one.label for one in found})
    if len(labels) < MIN_LABELS:
        msg = f"training file {str(path)!r} needs two labels or more, found {labels}"
        raise Invalid(msg)
    return found


MIN_LABELS = 2  # with one label there is nothing to learn


def _labelled_lines(path: Path, lines: Sequence[bytes]) -> Iterator[Labelled]:
    """Parse line by line; a message names the line, never its text."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            msg = f"line {number} of training file {str(path)!r} is not JSON: {error.msg}"
            raise Invalid(msg) from error
        text, label = (
            (row.get("post_text"), row.get("label")) if isinstance(row, dict) else (None, None)
        )
        if not isinstance(text, str) or not isinstance(label, str) or not label:
            msg = (
                f"line {number} of training file {str(path)!r} must be an object with the "
                'strings "post_text" and "label"'
            )
            raise Invalid(msg)
        yield Labelled(text, label)


def _is_for_training(item_id: str) -> bool:
    return hashlib.sha256(item_id.encode()).digest()[0] % 2 == 1
