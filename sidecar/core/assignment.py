"""Which arm does a unit get? The same answer in Python, in the proxy and in SQL.

A unit falls into one of 10,000 buckets, and arms own ranges of buckets. The ranges are
nested: when a canary's share is raised it keeps every bucket it had, so a ramp only moves
units *into* it. Standard library only, because the proxy loads this file.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sidecar.core.errors import Invalid

BUCKETS = 10_000
PRIMARY = "primary"


@dataclass(frozen=True, slots=True)
class Range:
    """The buckets [start, end) belong to `arm`."""

    arm: str
    start: int
    end: int


def bucket_of(unit_id: str, *, salt: str) -> int:
    """Place a unit in one of `BUCKETS` buckets, uniformly, independently per salt.

    SHA-256 rather than a faster hash because PostgreSQL has it built in, and 56 bits of
    it because they fit a bigint: an analyst can re-derive any assignment in SQL.

    Args:
        unit_id: What is randomised over, without lone surrogates (see `stable_unit`).
        salt: The experiment's salt; different salts give independent buckets.

    Returns:
        A bucket in [0, BUCKETS).

    Example:
        >>> bucket_of("u-1", salt="exp-1")
        9701
    """
    # Hashing the salt first fixes its length, so ("a", "bc") and ("ab", "c") stay apart.
    prefix = hashlib.sha256(salt.encode()).digest()
    digest = hashlib.sha256(prefix + unit_id.encode()).digest()
    return int.from_bytes(digest[:7]) % BUCKETS


def ranges(share_bp: Mapping[str, int]) -> tuple[Range, ...]:
    """Give every bucket an arm.

    Each of the k canaries, in the order of their names, grows upwards from a home of its
    own (the i-th at i/k of the buckets, wrapping round) and the primary has what is
    left. As long as no canary outgrows its k-th of the buckets, raising or lowering one
    moves units between it and the primary only; one canary alone may grow to all.

    Args:
        share_bp: Basis points by arm, summing to `BUCKETS`. Arms other than `primary`
            are canaries.

    Returns:
        Ranges in ascending order that cover [0, BUCKETS) without overlap.

    Raises:
        Invalid: The shares are negative or do not sum to `BUCKETS`.
    """
    if any(share < 0 for share in share_bp.values()) or sum(share_bp.values()) != BUCKETS:
        msg = f"shares {dict(share_bp)} must be non-negative and sum to {BUCKETS} basis points"
        raise Invalid(msg)
    # Sorted, so that reordering the entries of a YAML moves nobody.
    canaries = sorted(arm for arm in share_bp if arm != PRIMARY)
    owned: list[Range] = []
    for position, arm in enumerate(canaries):
        home = position * BUCKETS // len(canaries)
        owned = _grow(owned, arm, home, share_bp[arm])
    owned += _gaps(owned, PRIMARY)
    return tuple(sorted(owned, key=lambda piece: piece.start))


def arm_of(bucket: int, pieces: Sequence[Range]) -> str:
    """Name the arm that owns a bucket.

    Args:
        bucket: In [0, BUCKETS).
        pieces: What `ranges` returned.
    """
    for piece in pieces:
        if piece.start <= bucket < piece.end:
            return piece.arm
    msg = f"bucket {bucket} is outside 0 to {BUCKETS - 1}"
    raise Invalid(msg)


def basis_points(weights: Mapping[str, float]) -> dict[str, int]:
    """Turn weights into whole basis points that sum to `BUCKETS`.

    Largest remainders get the points that rounding down leaves over, so no share is off
    by a whole point; an arm with a positive weight gets at least one.

    Args:
        weights: Finite, non-negative, at least one positive.

    Raises:
        Invalid: A weight is negative or not finite, or all are zero.

    Example:
        >>> basis_points({"primary": 2, "canary": 1})
        {'primary': 6667, 'canary': 3333}
    """
    bad = {arm: w for arm, w in weights.items() if not math.isfinite(w) or w < 0}
    if bad:
        msg = f"weights must be finite and at least 0, found {bad}"
        raise Invalid(msg)
    # Fractions, because 0.1 + 0.2 must not decide which arm gets the last point.
    exact = {arm: Fraction(str(weight)) for arm, weight in weights.items()}
    total = sum(exact.values())
    if total == 0:
        msg = f"at least one weight must be above 0, found {dict(weights)}"
        raise Invalid(msg)
    ideal = {arm: weight * BUCKETS / total for arm, weight in exact.items()}
    points = {arm: max(int(share), int(share > 0)) for arm, share in ideal.items()}
    rest = BUCKETS - sum(points.values())
    by_need = sorted(ideal, key=lambda arm: points[arm] - ideal[arm])
    if rest < 0:  # tiny arms were lifted to one point; the largest pays for them
        points[max(points, key=lambda arm: points[arm])] += rest
    for arm in by_need[: max(rest, 0)]:
        points[arm] += 1
    return points


def stable_unit(raw: str) -> str:
    """Return a unit id that can be hashed and stored everywhere.

    A short id stays as it is. One that is long, or that PostgreSQL cannot hold as text
    (NUL, lone surrogates), is replaced by its SHA-256, so equal ids stay equal.
    """
    storable = "\x00" not in raw and not any("\ud800" <= c <= "\udfff" for c in raw)
    if storable and len(raw) <= MAX_UNIT_CHARS:
        return raw
    digest = hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest}"


MAX_UNIT_CHARS = 200  # longer ids are someone's payload, and would bloat every index


def _grow(owned: list[Range], arm: str, home: int, size: int) -> list[Range]:
    """Give `arm` the first `size` free buckets at or after `home`, wrapping round."""
    free = sorted(_gaps(owned, arm), key=lambda gap: gap.start)
    after = [Range(arm, max(gap.start, home), gap.end) for gap in free if gap.end > home]
    before = [Range(arm, gap.start, min(gap.end, home)) for gap in free if gap.start < home]
    taken = list(owned)
    for gap in after + before:
        step = min(size, gap.end - gap.start)
        if step > 0:
            taken.append(Range(arm, gap.start, gap.start + step))
            size -= step
    return taken


def _gaps(owned: Sequence[Range], arm: str) -> list[Range]:
    """List the buckets nobody owns, as ranges of `arm`."""
    gaps, position = [], 0
    for piece in sorted(owned, key=lambda piece: piece.start):
        if piece.start > position:
            gaps.append(Range(arm, position, piece.start))
        position = piece.end
    if position < BUCKETS:
        gaps.append(Range(arm, position, BUCKETS))
    return gaps
