"""What reached the provider? Counts by model, and the last bodies as they came."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

KEPT_BODY_BYTES = 65_536  # a larger body is counted and measured, not kept
UNKNOWN = "(unknown)"  # one row for all names nobody has: names must not fill memory


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came; `body` is `None` when it was too large to keep."""

    path: str
    model: str | None
    size_bytes: int
    body: str | None


class RequestLog:
    """Counts requests and keeps the last ones."""

    def __init__(self, keep: int) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._last: deque[Seen] = deque(maxlen=keep)

    def keep(self, path: str, model: str | None, raw: bytes) -> None:
        """Remember a request as it came."""
        fits = len(raw) <= KEPT_BODY_BYTES
        body = raw.decode("utf-8", "replace") if fits else None
        self._last.append(Seen(path, model, len(raw), body))

    def count(self, model: str, event: str) -> None:
        """Count one thing that happened to a request for `model`."""
        self._counts.setdefault(model, Counter())[event] += 1

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return the counts by model and event."""
        return {model: dict(events) for model, events in sorted(self._counts.items())}

    def last(self, number: int, model: str | None) -> Sequence[dict[str, object]]:
        """Return up to `number` kept requests, the newest last, of one model if named."""
        chosen = [seen for seen in self._last if model is None or seen.model == model]
        return [asdict(seen) for seen in chosen[max(len(chosen) - number, 0) :]]

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self._last.clear()
