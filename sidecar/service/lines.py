"""What do journal lines become? Rows, contents, enrichments, or lines put aside.

Works on a chunk at a time, in a thread of its own and without the database: whatever can be
decided about a line is decided here, so that the transaction that follows is short.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.core.calls import Enrichment, read_line
from sidecar.core.contents import Seen, split
from sidecar.core.errors import Invalid
from sidecar.handoff.journal import read_chunk
from sidecar.service.call_lines import CallLine, Document, judge, read_call, row_of
from sidecar.service.documents import Encode, encode
from sidecar.service.storable import is_count, is_finite, storable_row
from sidecar.store.calls import Row
from sidecar.store.enrichments import Extra, enriched, merged

CHUNK_BYTES = 4 * 1024 * 1024  # some 2,000 calls: enough for COPY to be at full speed
MAX_LINE_BYTES = 64 * 1024 * 1024  # three times the largest body that is sent in earnest
OLDEST = timedelta(days=3653)  # a clock that is off must not open a month of the year 1970
NEWEST = timedelta(days=2)

_CALL_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# A line that nobody of ours wrote must not stop those behind it, whatever is in it.
_MISREAD = (TypeError, ValueError, AttributeError, KeyError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that becomes no row, and why; the reason quotes nothing of the line."""

    reason: str
    line: bytes


@dataclass(slots=True)
class Batch:
    """What a chunk of a segment holds.

    Args:
        start, end: Offsets in the segment, in bytes.
        is_last: The segment is complete and ends here.
        rows: New rows by call id.
        raw: The line of each row.
        parts: Contents of the rows' requests by hash. `seen`: prompts among them.
        extras: Enrichments of calls in `rows`, already merged into them.
        loose: Enrichments of other calls.
        year_months: Of the rows.
        lines: Lines read, of whatever kind.
        repeated: Calls that occur twice within the chunk.
    """

    start: int
    end: int = 0
    is_last: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    parts: dict[bytes, bytes] = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    extras: dict[str, Extra] = field(default_factory=dict)
    loose: dict[str, Extra] = field(default_factory=dict)
    bad: list[BadLine] = field(default_factory=list)
    year_months: set[tuple[int, int]] = field(default_factory=set)
    lines: int = 0
    enrichments: int = 0
    repeated: int = 0

    @property
    def months(self) -> set[datetime]:
        """First moments of the months that the rows are in."""
        return {datetime(year, month, 1, tzinfo=UTC) for year, month in self.year_months}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do: no line, and no end of a segment."""
        return not self.lines and not self.is_last


def read_batch(segment: Path, start: int, now: datetime, max_bytes: int = CHUNK_BYTES) -> Batch:
    """Read and parse the complete lines of a segment from an offset on.

    Raises:
        FileNotFoundError: Another drain has finished the segment.
    """
    if start > segment.stat().st_size:  # not the file that was drained to there
        start = 0
    chunk = read_chunk(segment, start=start, max_bytes=max_bytes)
    batch = Batch(start, chunk.end, chunk.is_last, lines=len(chunk.lines))
    for line in chunk.lines:
        try:
            _take(batch, line, now)
        except Invalid as error:
            batch.bad.append(BadLine(str(error), line))
        except _MISREAD as error:
            reason = f"a field is missing or of a wrong type ({type(error).__name__})"
            batch.bad.append(BadLine(reason, line))
    if chunk.torn is not None:
        batch.lines += 1
        batch.bad.append(BadLine("the line ends in the middle", chunk.torn))
    for call_id in batch.loose.keys() & batch.rows.keys():
        extra = batch.extras[call_id] = batch.loose.pop(call_id)
        batch.rows[call_id] = enriched(batch.rows[call_id], extra)
    return batch


def _take(batch: Batch, line: bytes, now: datetime) -> None:
    """Put one line where it belongs.

    Raises:
        Invalid: It belongs nowhere.
    """
    if len(line) > MAX_LINE_BYTES:
        msg = f"the line has {len(line)} bytes; at most {MAX_LINE_BYTES} are stored"
        raise Invalid(msg)
    call, exact = read_call(line)
    if isinstance(call, CallLine):
        _take_call(batch, call, line, exact, now)
    else:
        _take_enrichment(batch, call, now)


def _take_call(batch: Batch, call: CallLine, line: bytes, exact: Encode, now: datetime) -> None:
    """Make a row of a call, and of its request a skeleton and parts.

    Raises:
        Invalid: It is no call of ours, or of an absurd time.
    """
    call_id = call.call_id
    started_at = _moment_of(call_id, now)
    if call_id in batch.rows:
        batch.repeated += 1
        return
    stored = split(call.request, exact, batch.seen)
    row = row_of(call, started_at, stored, judge(call), exact)
    # Here can be a NaN, which a float column would take, and no sum would survive.
    batch.rows[call_id] = row if exact is encode else storable_row(row)
    batch.raw[call_id] = line
    batch.parts.update(stored.parts)
    batch.year_months.add((started_at.year, started_at.month))


def _take_enrichment(batch: Batch, document: Document, now: datetime) -> None:
    """Put aside what is known of a call, until all lines are read.

    Raises:
        Invalid: It is no enrichment, or a value has not the type of its column.
    """
    late = read_line(document)
    if not isinstance(late, Enrichment):
        msg = "the line is no enrichment"
        raise Invalid(msg)
    counts = (late.prompt_tokens, late.completion_tokens, late.cached_tokens)
    # Stricter than with a call's own line: this is written over a row that is good already.
    if not all(map(is_count, counts)) or not is_finite(late.cost_usd):
        msg = "an enrichment's values must be numbers: whole for tokens, finite for the cost"
        raise Invalid(msg)
    extra = (_moment_of(late.call_id, now), *counts, late.cost_usd)
    batch.enrichments += 1
    batch.loose[late.call_id] = merged(batch.loose.get(late.call_id), extra)


def _moment_of(call_id: str, now: datetime) -> datetime:
    """Read when a call began out of its id.

    Raises:
        Invalid: It is no call id of ours, or of an absurd time.
    """
    if not _CALL_ID.fullmatch(call_id):
        msg = "the line's call id is no UUID of version 7 in lower case"
        raise Invalid(msg)
    milliseconds = int(call_id[:8] + call_id[9:13], 16)
    started_at = _EPOCH + milliseconds * _MILLISECOND
    if not -OLDEST <= started_at - now <= NEWEST:
        msg = f"the call began at {started_at.isoformat()}, which cannot be"
        raise Invalid(msg)
    return started_at
