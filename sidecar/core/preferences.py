"""What does one word of feedback teach: which texts are good or bad, and which is better?

Pure: the words and what is known of their calls come in, what is to be stored goes out. A
pair stands on the words that it names, its grounds, and counts as long as they do.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.core.corrections import corrected
from sidecar.core.edits import is_small_edit, normalised
from sidecar.core.feedback import Feedback, Kind

ALONE = 0  # in place of a second word: the first one is ground enough
TIE = 0.5  # of a choice


class Origin(StrEnum):
    """How it came about that one text is preferred."""

    EDIT = "edit"
    REJECTION = "rejection"
    CHOICE = "choice"
    LABEL = "label"
    MANUAL = "manual"


class Refusal(StrEnum):
    """Why a word that could have given a pair gave none."""

    EQUAL = "equal"  # but for white space
    EMPTY = "empty"
    TOO_SMALL = "too_small_an_edit"
    NO_PROMPT = "no_prompt"
    NO_TEXT = "no_text"  # the answer has none, or is a tool's call


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt, of one group of one project.

    Args:
        hash: See `core.prompts.digest`.
    """

    project_id: str
    group: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """A text and what wrote it.

    Args:
        model: None: a person did, or nobody knows.
    """

    text: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a call matters here.

    Args:
        prompt: None when its request holds none.
        answer: None when there was no text, or a tool's call.
        verdict_label: Of a judge's answer; None when it could not be read.
    """

    call_id: str
    project_id: str
    prompt: Prompted | None
    answer: Written | None
    verdict_label: str | None


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that somebody called good or bad as the answer to a prompt.

    Args:
        feedback_id: Of the word that says so.
        call_id: Whose exact request is the prompt.
    """

    feedback_id: int
    is_good: bool
    prompt: Prompted
    call_id: str
    said: Written


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts for one prompt, of which one was preferred.

    Args:
        call_id: Whose exact request is the prompt.
        feedback_id, with_id: The words it stands on; `ALONE`: the first suffices.
    """

    origin: Origin
    prompt: Prompted
    call_id: str
    chosen: Written
    rejected: Written
    feedback_id: int
    with_id: int = ALONE


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a word teaches."""

    completions: tuple[Completion, ...] = ()
    pair: Pair | None = None
    refusal: Refusal | None = None


NOTHING = Lesson()
# Scores, flags and comments compare no texts.
TEACHING = frozenset({Kind.LABEL, Kind.APPROVE, Kind.EDIT, Kind.REJECT, Kind.CHOICE, Kind.PAIR})


def lesson_of(word: Feedback, calls: Mapping[str, Asked], min_edit: float = 0.0) -> Lesson:
    """Say what a word teaches.

    Args:
        calls: The word's call and, of a choice, the other one, by id.
        min_edit: An edit under this share of the longer text gives no pair.
    """
    call = calls.get(word.call_id)
    if call is None or word.kind not in TEACHING:
        return NOTHING
    if word.kind is Kind.LABEL and word.label == call.verdict_label:
        return NOTHING  # it agrees: the answer is as good as it is
    if word.kind is Kind.CHOICE:
        return _choice(word, call, calls.get(word.other_call_id or ""))
    if call.prompt is None:
        return NOTHING if word.kind is Kind.APPROVE else Lesson(refusal=Refusal.NO_PROMPT)
    return _LESSONS[word.kind](word, call, call.prompt, min_edit)


def asked_the_same(one: Asked, other: Asked) -> bool:
    """Whether two calls had the same prompt, of whichever group."""
    if one.prompt is None or other.prompt is None:
        return False
    return one.prompt.hash == other.prompt.hash


def refused(chosen: str, rejected: str, min_edit: float = 0.0) -> Refusal | None:
    """Say why two texts make no pair; None when they make one."""
    here, there = normalised(chosen), normalised(rejected)
    if not here or not there:
        return Refusal.EMPTY
    if here == there:
        return Refusal.EQUAL
    return Refusal.TOO_SMALL if is_small_edit(here, there, min_edit) else None


def content_hash(prompt_hash: bytes, chosen: bytes, rejected: bytes) -> bytes:
    """Give the SHA-256 by which a pair's content is known.

    In SQL: `sha256(prompt_hash || sha256(chosen) || sha256(rejected))`, and with the two
    changed round that of the opposite pair.

    Args:
        chosen, rejected: As they are stored, JSON strings.
    """
    whole = hashlib.sha256(prompt_hash)
    for text in (chosen, rejected):
        whole.update(hashlib.sha256(text).digest())
    return whole.digest()


def _approve(word: Feedback, call: Asked, prompt: Prompted, _min_edit: float) -> Lesson:
    return Lesson(_answered(word, call, prompt, is_good=True))


def _reject(word: Feedback, call: Asked, prompt: Prompted, min_edit: float) -> Lesson:
    if word.text is not None:
        return _better(word, call, prompt, min_edit)
    if call.answer is None:
        return Lesson(refusal=Refusal.NO_TEXT)
    bad = _answered(word, call, prompt, is_good=False)
    return Lesson(bad) if bad else Lesson(refusal=Refusal.EMPTY)


def _better(word: Feedback, call: Asked, prompt: Prompted, min_edit: float) -> Lesson:
    """Learn from an edit, or from a rejection with a better text."""
    final = Written(word.text or "")
    good = Completion(word.id, is_good=True, prompt=prompt, call_id=call.call_id, said=final)
    kept = (good,) if final.text.strip() else ()
    if call.answer is None:
        return Lesson(kept, refusal=Refusal.NO_TEXT)
    bad = _answered(word, call, prompt, is_good=False)
    refusal = refused(final.text, call.answer.text, min_edit)
    if refusal is not None:
        # Too little was changed to call an edited text bad. A text that was rejected is
        # bad, and what was given as better is then the same text.
        return Lesson(bad if bad and word.kind is Kind.REJECT else kept, refusal=refusal)
    origin = Origin.REJECTION if word.kind is Kind.REJECT else Origin.EDIT
    pair = Pair(origin, prompt, call.call_id, final, call.answer, word.id)
    return Lesson((good, *bad), pair)


def _choice(word: Feedback, call: Asked, other: Asked | None) -> Lesson:
    if other is None or word.value == TIE:
        return NOTHING
    if not asked_the_same(call, other):
        return Lesson(refusal=Refusal.NO_PROMPT)
    better, worse = (call, other) if word.value else (other, call)
    return _comparison(Origin.CHOICE, word, call, better.answer, worse.answer)


def _manual(word: Feedback, call: Asked, _prompt: Prompted, _min_edit: float) -> Lesson:
    # A text is a person's, unless it is just what the call's model wrote.
    chosen, rejected = (
        call.answer
        if call.answer is not None and call.answer.text == text
        else Written(text or "")
        for text in (word.text, word.rejected)
    )
    return _comparison(Origin.MANUAL, word, call, chosen, rejected)


def _label(word: Feedback, call: Asked, _prompt: Prompted, _min_edit: float) -> Lesson:
    if call.answer is None or word.label is None:
        return Lesson(refusal=Refusal.NO_TEXT)
    right = Written(corrected(call.answer.text, word.label, word.comment))
    return _comparison(Origin.LABEL, word, call, right, call.answer)


def _comparison(
    origin: Origin,
    word: Feedback,
    call: Asked,
    chosen: Written | None,
    rejected: Written | None,
) -> Lesson:
    """Give the pair of two texts, however little they differ."""
    if chosen is None or rejected is None:
        return Lesson(refusal=Refusal.NO_TEXT)
    refusal = refused(chosen.text, rejected.text)
    if refusal is not None or call.prompt is None:
        return Lesson(refusal=refusal or Refusal.NO_PROMPT)
    return Lesson(pair=Pair(origin, call.prompt, call.call_id, chosen, rejected, word.id))


def _answered(
    word: Feedback, call: Asked, prompt: Prompted, *, is_good: bool
) -> tuple[Completion, ...]:
    """Give what the model wrote as a completion, if it wrote anything."""
    if call.answer is None or not call.answer.text.strip():
        return ()
    return (Completion(word.id, is_good, prompt, call.call_id, call.answer),)


_LESSONS: Mapping[Kind, Callable[[Feedback, Asked, Prompted, float], Lesson]] = {
    Kind.APPROVE: _approve,
    Kind.EDIT: _better,
    Kind.REJECT: _reject,
    Kind.PAIR: _manual,
    Kind.LABEL: _label,
}
