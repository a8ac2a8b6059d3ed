"""What is a dataset for training: what may be asked for, and what is one of its rows?

A dataset is the rows that a spec chooses among what people said up to one word. The same
spec up to the same word gives the same rows, in the same order, on any machine.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum

from sidecar.core.errors import Conflict, Invalid

VALIDATION = HOLDOUT = 0.1  # shares of the units, unless others are asked for
MIN_ROWS = 10  # what a fine-tuning provider asks for at the least
MAX_PATTERNS = 20
MAX_PATTERN = 500  # characters of a regular expression
MAX_SEED = 200  # characters
NAME_DIGITS = 16  # hexadecimal, of the hash, in a dataset's id
# Who may be a teacher unless asked otherwise: people, and no model.
HUMANS = ("audit", "correction", "review")
SOURCES = (*HUMANS, "judge")
ORIGINS = ("edit", "rejection", "choice", "label", "manual")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PATTERN_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


class InsufficientData(Conflict):
    """What people said so far does not make the dataset that was asked for."""


class Kind(StrEnum):
    """What a dataset is trained with."""

    SFT = "sft"  # an answer to imitate
    DPO = "dpo"  # two answers, the better one first
    KTO = "kto"  # an answer, good or bad


class Split(StrEnum):
    """What a row is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    HOLDOUT = "holdout"  # for evaluation; never exported for training


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Args:
        prompt: A JSON list of messages. `tools`: a JSON list, None without tools.
        chosen: A JSON string; of `kto` the completion that is good or bad.
        rejected: A JSON string, of `dpo` only.
        is_good: Of `kto` only.
        label: Of a judge's row.
        call_id: Whose request the prompt is.
    """

    prompt: bytes
    tools: bytes | None
    chosen: bytes
    rejected: bytes | None
    is_good: bool | None
    label: str | None
    split: str
    call_id: str


@dataclass(frozen=True, slots=True)
class MinScore:
    """A call counts if the average of what people gave it under a name is this or more."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Redact:
    """What is taken out of the texts.

    Args:
        patterns: Regular expressions by the name that stands in place of what they match.
    """

    handles: bool = True
    links: bool = True
    mail: bool = True
    phone: bool = True
    patterns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is asked for.

    Args:
        group, arm, model: None for all. The model is what wrote a text of the row.
        since, until: Of the calls' starts; `until` itself is left out.
        sources: Of the words that count.
        min_agreement: Share of reviewers in (0.5, 1] that must say the same; None for a
            strict majority.
        origins: Of pairs; empty for all.
        validation, holdout: Shares of the units, in [0, 1).
        min_rows: Training rows, below which there is no dataset.
        expose_holdout: Whether to train on what another of the project's datasets holds out.
        usd_per_million_tokens: A provider's price for training; None if it is not known.
        as_of: Id of the last word that counts; None for the newest there is.
    """

    kind: Kind
    project_id: str
    group: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sources: tuple[str, ...] = HUMANS
    min_score: MinScore | None = None
    min_agreement: float | None = None
    arm: str | None = None
    model: str | None = None
    origins: tuple[str, ...] = ()
    validation: float = VALIDATION
    holdout: float = HOLDOUT
    seed: str = ""
    redact: Redact = field(default_factory=Redact)
    min_rows: int = MIN_ROWS
    allow_one_class: bool = False
    expose_holdout: bool = False
    usd_per_million_tokens: float | None = None
    as_of: int | None = None


def check(spec: Spec) -> None:
    """Refuse a spec that can never be right.

    Raises:
        Invalid: The message names the field, what was found and what is possible.
    """
    _check_names(spec)
    _check_numbers(spec)
    _check_patterns(spec.redact.patterns)
    if spec.since is not None and spec.until is not None and spec.since >= spec.until:
        msg = f"since must be before until, found {spec.since} and {spec.until}"
        raise Invalid(msg)


def check_holdout(spec: Spec, largest: float | None) -> None:
    """Keep what a project holds out held out.

    Args:
        largest: The largest share that a dataset of the project held out; None without any.

    Raises:
        Conflict: A smaller share would put evaluation's units among those of training.
    """
    if largest is None or spec.holdout >= largest or spec.expose_holdout:
        return
    msg = (
        f"the project's datasets hold out {largest:g} of its units for evaluation, and with a "
        f"holdout of {spec.holdout:g} some of these would be trained on; hold out "
        f"{largest:g} or more, or set expose_holdout"
    )
    raise Conflict(msg)


def to_document(spec: Spec) -> dict[str, object]:
    """Give a spec as JSON values, with every default, to be kept."""
    document = asdict(spec)
    for name in ("since", "until"):
        moment = document[name]
        document[name] = None if moment is None else moment.isoformat()
    return document | {"kind": spec.kind.value, "redact": asdict(spec.redact)}


def id_of(digest: str) -> str:
    """Name a dataset by its hash.

    Example:
        >>> id_of("00c0ffee00c0ffee00c0ffee")
        'ds-00c0ffee00c0ffee'
    """
    return f"ds-{digest[:NAME_DIGITS]}"


class Hash:
    """SHA-256 of rows in their order: of each one's own SHA-256, and its split's name.

    A row is hashed before it is known where it goes, so that none has to be read again.
    """

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def add(self, split: str, row_digest: bytes) -> None:
        """Add the next row, by its `row_digest`."""
        self._whole.update(split.encode() + b"\n" + row_digest)

    def hexdigest(self) -> str:
        """Return the hash of the rows so far."""
        return self._whole.hexdigest()


def row_digest(row: Row) -> bytes:
    """Return SHA-256 of all of a row but its split."""
    good = None if row.is_good is None else b"\1" if row.is_good else b"\0"
    label = None if row.label is None else row.label.encode()
    texts = (row.call_id.encode(), label, row.prompt, row.tools, row.chosen, row.rejected, good)
    # With each one's length, so that no two rows are the same bytes.
    framed = b"".join(b"-" if text is None else b"%d:%b" % (len(text), text) for text in texts)
    return hashlib.sha256(framed).digest()


def _check_names(spec: Spec) -> None:
    _check_known("sources", spec.sources, SOURCES)
    if not spec.sources:
        msg = f"sources must name one or more of {', '.join(SOURCES)}"
        raise Invalid(msg)
    _check_known("origins", spec.origins, ORIGINS)
    if spec.origins and spec.kind is not Kind.DPO:
        msg = f"origins are of pairs, and kind {spec.kind.value} has none; leave them out"
        raise Invalid(msg)
    if len(spec.seed) > MAX_SEED:
        msg = f"seed has {len(spec.seed)} characters; at most {MAX_SEED} are possible"
        raise Invalid(msg)
    _check_storable("seed", spec.seed)


def _check_known(name: str, found: Iterable[str], known: Iterable[str]) -> None:
    unknown = [each for each in found if each not in known]
    if unknown:
        msg = f"{name} may be {', '.join(known)}; found {unknown[0][:80]!r}"
        raise Invalid(msg)


def _check_storable(name: str, text: str) -> None:
    if _UNSTORABLE.search(text):
        msg = f"{name} holds a NUL or half of a surrogate pair"
        raise Invalid(msg)


def _check_numbers(spec: Spec) -> None:
    shares = {"validation": spec.validation, "holdout": spec.holdout}
    for name, share in shares.items():
        if not 0 <= share < 1:
            msg = f"{name} is a share, at least 0 and below 1; found {share:g}"
            raise Invalid(msg)
    agreement = spec.min_agreement
    if agreement is not None and not 0.5 < agreement <= 1:  # noqa: PLR2004  (a majority)
        msg = f"min_agreement is a share above 0.5 and at most 1; found {agreement:g}"
        raise Invalid(msg)
    if spec.min_score is not None and not math.isfinite(spec.min_score.value):
        msg = f"min_score must have a finite value, found {spec.min_score.value}"
        raise Invalid(msg)
    price = spec.usd_per_million_tokens
    if price is not None and not (math.isfinite(price) and price >= 0):
        msg = f"usd_per_million_tokens must be 0 or more, found {price}"
        raise Invalid(msg)
    for name, least, number in (("min_rows", 1, spec.min_rows), ("as_of", 0, spec.as_of)):
        if number is not None and number < least:
            msg = f"{name} must be {least} or more, found {number}"
            raise Invalid(msg)


def _check_patterns(patterns: Mapping[str, str]) -> None:
    if len(patterns) > MAX_PATTERNS:
        msg = f"at most {MAX_PATTERNS} patterns are possible, found {len(patterns)}"
        raise Invalid(msg)
    for name, pattern in patterns.items():
        if not _PATTERN_NAME.fullmatch(name):
            msg = (
                "a pattern's name is a lower-case letter followed by letters, digits or '_', "
                f"at most 31 in all; found {name[:80]!r}"
            )
            raise Invalid(msg)
        if not 1 <= len(pattern) <= MAX_PATTERN:
            msg = f"pattern {name} has {len(pattern)} characters; 1 to {MAX_PATTERN} may be"
            raise Invalid(msg)
        _check_storable(f"pattern {name}", pattern)
