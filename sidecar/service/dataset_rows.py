"""How does what people said of a call become a row that a trainer can read?

The prompt is the request's own and the text the answer's own, or a person's; what is
redacted, and nothing else, is changed.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sidecar.core.corrections import corrected
from sidecar.core.datasets import Redact, Row
from sidecar.core.errors import NotFound
from sidecar.core.manifests import Facts
from sidecar.core.masking import Masker, mask_messages
from sidecar.core.prompts import Prompt, digest, own_text, parts, prompt_of, texts
from sidecar.service.documents import Encode, decode
from sidecar.service.documents import encode as write
from sidecar.service.patterns import Patterns
from sidecar.service.requests import whole
from sidecar.service.tokens import Tokens
from sidecar.store.sources import Source

GONE = "call_gone"
NO_PROMPT = "no_prompt"
NO_TEXT = "no_text"
EQUAL = "equal_once_redacted"
NOT_UTF8 = "not_utf8"  # it holds half of a surrogate pair, which no trainer reads

_REMEMBERED = 1_000  # texts, and what they are once masked
_SHORT = 20_000  # characters of a text that is worth remembering
UNPLACED = ""  # a row's split, until it is known


@dataclass(frozen=True, slots=True)
class Made:
    """A row, and what it takes to place it and to tell of it.

    Args:
        prompt: A number that rows of the same prompt share.
        own: The text that is the prompt's own, to find near-duplicates by.
    """

    item: int
    row: Row
    facts: Facts
    tokens: int
    unit: str
    prompt: int
    own: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row whose tokens are not counted yet."""

    source: Source
    row: Row
    facts: Facts
    prompt: Prompt
    said: tuple[str, ...]


class _LeftOut(Exception):
    """Nothing can be made of this; its text is the reason."""


class Maker:
    """Makes rows; what it does takes a processor's time, so it belongs in a thread."""

    def __init__(self, redact: Redact, patterns: Patterns, tokens: Tokens) -> None:
        """Make rows with so much taken out of them."""
        self._patterns = patterns
        self._tokens = tokens
        self._masker = Masker(redact, patterns.replaces)
        self._known: dict[str, tuple[str, Counter[str]]] = {}

    def make(
        self, sources: Sequence[Source], contents: Mapping[bytes, bytes]
    ) -> tuple[list[Made], Counter[str]]:
        """Make rows of some sources.

        Args:
            contents: Of their requests, by hash.

        Returns:
            The rows, and how many sources gave none, by the reason.

        Raises:
            Invalid: A pattern takes too long.
        """
        self._patterns.renew()
        left_out: Counter[str] = Counter()
        drafts = []
        for source in sources:
            try:
                drafts.append(self._draft(source, contents))
            except _LeftOut as reason:
                left_out[str(reason)] += 1
        counts = self._tokens.count_all([_all_texts(draft) for draft in drafts])
        return [
            _made(draft, count) for draft, count in zip(drafts, counts, strict=True)
        ], left_out

    def _draft(self, source: Source, contents: Mapping[bytes, bytes]) -> _Draft:
        counts: Counter[str] = Counter()

        def mask(text: str) -> str:
            return self._masked(text, counts)

        prompt, encode = _prompt(source, contents)
        masked = mask_messages(list(prompt.messages), mask)
        prompt = Prompt(cast("list[Mapping[str, object]]", masked), prompt.tools)
        messages, tools = parts(prompt, encode)
        said = _said(source)
        kept = tuple(mask(text) for text in said)
        if len(kept) > 1 and kept[0] == kept[1]:
            raise _LeftOut(EQUAL)
        chosen, *rejected = (write(text) for text in kept)
        row = Row(
            prompt=messages,
            tools=tools,
            chosen=chosen,
            rejected=rejected[0] if rejected else None,
            is_good=source.is_good,
            label=source.label,
            split=UNPLACED,
            call_id=source.call_id,
        )
        if not all(map(_is_utf8, (messages, tools, chosen, *rejected))):
            raise _LeftOut(NOT_UTF8)
        facts = Facts(
            label=source.label,
            is_good=source.is_good,
            model=source.model,
            origin=source.origin,
            sources=source.sources,
            reviewers=source.reviewers,
            redactions=tuple(sorted((+counts).items())) if counts else (),
        )
        return _Draft(source, row, facts, prompt, kept)

    def _masked(self, text: str, counts: Counter[str]) -> str:
        """Mask a text; a system prompt, which comes again and again, is looked up."""
        if self._masker.is_clean(text):
            return text
        known = self._known.get(text)
        if known is None:
            found: Counter[str] = Counter()
            known = self._masker.mask(text, found), +found
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if len(text) <= _SHORT:
                self._known[text] = known
        counts.update(known[1])
        return known[0]


def _made(draft: _Draft, tokens: int) -> Made:
    number = int.from_bytes(digest(draft.row.prompt, draft.row.tools)[:8], signed=True)
    source = draft.source
    unit = source.unit_id or source.call_id
    own = own_text(draft.prompt)
    return Made(source.item, draft.row, draft.facts, tokens, unit, number, own)


def _prompt(source: Source, contents: Mapping[bytes, bytes]) -> tuple[Prompt, Encode]:
    try:
        request, encode = whole(source.skeleton, contents)
    except NotFound:
        raise _LeftOut(GONE) from None
    prompt = prompt_of(source.surface, request)
    if prompt is None:
        raise _LeftOut(NO_PROMPT)
    return prompt, encode


def _said(source: Source) -> tuple[str, ...]:
    """Give a row's texts: the one to learn from, and of a pair the worse one."""
    if source.chosen is not None:
        return tuple(
            _text(each) for each in (source.chosen, source.rejected) if each is not None
        )
    if source.final is not None:
        return (source.final,)
    decoded, _ = decode(source.answer)
    answer = cast("Mapping[str, Any]", decoded)
    text = answer.get("text")
    if not isinstance(text, str) or not text.strip() or answer.get("tool_calls"):
        raise _LeftOut(NO_TEXT)
    if source.label is None or source.label == source.verdict_label:
        return (text,)
    return (corrected(text, source.label, source.comment),)


def _text(encoded: bytes) -> str:
    return cast("str", decode(encoded)[0])


def _is_utf8(encoded: bytes | None) -> bool:
    """Whether JSON of ours can be read by who takes no lone surrogates, written as escapes."""
    if encoded is None or b"\\ud" not in encoded:
        return True
    try:
        json.dumps(json.loads(encoded), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _all_texts(draft: _Draft) -> list[str]:
    """List what a model reads of a row, to count its tokens."""
    said = [text for message in draft.prompt.messages for text in texts(message.get("content"))]
    return [*said, *draft.said]
