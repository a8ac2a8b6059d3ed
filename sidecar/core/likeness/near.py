"""Which texts say almost the same? Those that share four fifths of their short pieces.

A text's pieces are all its stretches of five characters, after links, handles, digits, case
and white space have been made equal; two texts are near-duplicates when the Jaccard index of
their pieces is 0.8 or more, and so is what is linked through others. Nothing is left to
chance: every pair that can reach the index is compared (see `likeness.similar`). Only texts
beyond `MOST_PIECES` characters are compared by a sample, the same on every machine.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.core.likeness.sets import Sets, components
from sidecar.core.likeness.similar import similar

JACCARD = 0.8
# A sample's index strays by about 0.02; what is a near-duplicate should not slip through.
JACCARD_OF_SAMPLES = 0.75
PIECE = 5  # characters
MOST_PIECES = 1024  # kept of a text: 4 bytes each are held in memory

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_HANDLE = re.compile(r"(?<!\w)@\w+")
_DIGITS = re.compile(r"\d+")
_FACTORS = np.array(
    # Odd numbers without a pattern, one for each place in a piece (digits of pi).
    [0x243F6A8885A308D3, 0x13198A2E03707345, 0xA4093822299F31D1, 0x082EFA98EC4E6C89,
     0x452821E638D01377],
    dtype=np.uint64,
)  # fmt: skip
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)

Groups = NDArray[np.int64]
Hashes = NDArray[np.uint32]


class Texts:
    """Texts to be compared, given some at a time; only their pieces are kept."""

    def __init__(self) -> None:
        self._places: list[int] = []  # of each text among the different ones
        self._known: dict[bytes, int] = {}
        self._pieces: list[Hashes] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._halvings: list[NDArray[np.int64]] = []
        self._totals: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        """Take texts up, in their order."""
        new: list[str] = []
        taken = len(self._known)
        for text in texts:
            plain = normalised(text)
            digest = hashlib.blake2b(_encoded(plain), digest_size=12).digest()
            place = self._known.setdefault(digest, len(self._known))
            self._places.append(place)
            if place == taken + len(new):
                new.append(plain)
        if new:
            self._take(new)

    def groups(self) -> Groups:
        """Say of each text which others it is a near-duplicate of; to be asked once.

        Returns:
            For each text, in order, a number that it shares with its near-duplicates, and
            with theirs, and with no other.
        """
        found = np.arange(len(self._known), dtype=np.int64)
        self._known.clear()
        for within, halved in self._classes():
            members = np.flatnonzero(within)
            share = JACCARD_OF_SAMPLES if halved else JACCARD
            inside = similar(self._sets(within, halved), share)
            # Whoever is in a group has the group's first member as its number.
            found = _joined(found, members, members[inside])
        return found[np.array(self._places, dtype=np.int64)]

    def _take(self, texts: Sequence[str]) -> None:
        pieces, lengths = _pieces(texts)
        self._totals.append(lengths)
        owners = np.repeat(np.arange(len(texts)), lengths)
        halvings = _halvings(lengths)
        kept = _is_kept(pieces, halvings[owners])
        self._pieces.append(pieces[kept])
        self._lengths.append(np.bincount(owners[kept], minlength=len(texts)))
        self._halvings.append(halvings)

    def _classes(self) -> Iterator[tuple[NDArray[np.bool_], int]]:
        """Put texts together that were halved equally often: only these can be compared.

        A text that is nearly long enough for one halving more is compared with those, too:
        a near-duplicate is a quarter longer at most.

        Yields:
            Which texts these are, and how often they were halved, down to 0.
        """
        if not self._lengths:
            return
        halvings, totals = np.concatenate(self._halvings), np.concatenate(self._totals)
        for halved in range(int(halvings.max()), -1, -1):
            border = halvings == halved - 1
            border &= totals >= JACCARD_OF_SAMPLES * MOST_PIECES * 2.0 ** (halved - 1)
            yield (halvings == halved) | border, halved

    def _sets(self, within: NDArray[np.bool_], halved: int) -> Sets:
        """Take some texts' pieces, halved so often; forget all with 0, which comes last."""
        lengths = np.concatenate(self._lengths)
        members = np.empty(int(lengths[within].sum()), dtype=np.uint32)
        sizes = [np.empty(0, np.int64)]
        first = taken = 0
        for portion, of_texts in enumerate(self._lengths):
            pieces = self._pieces[portion]
            is_in = within[first : first + len(of_texts)]
            first += len(of_texts)
            owners = np.repeat(np.arange(len(of_texts)), of_texts)
            kept = is_in[owners] & _is_kept(pieces, np.full(len(pieces), halved))
            sizes.append(np.bincount(owners[kept], minlength=len(of_texts))[is_in])
            count = int(sizes[-1].sum())
            members[taken : taken + count] = pieces[kept]
            taken += count
            if not halved:
                self._pieces[portion] = pieces[:0].copy()
        return Sets(members[:taken], np.concatenate(sizes))


def normalised(text: str) -> str:
    """Make equal what does not tell two texts apart.

    Example:
        >>> normalised("See  https://a.example/b, @Ann: 42 DOGS")
        'see ~ @: 0 dogs'
    """
    plain = text.lower()
    # To look for a sign is quicker by far than to look for what it is a sign of.
    if "://" in plain or "www." in plain:
        plain = _LINK.sub("~", plain)
    if "@" in plain:
        plain = _HANDLE.sub("@", plain)
    return " ".join(_DIGITS.sub("0", plain).split())


def pieces_of(text: str) -> frozenset[str]:
    """Give a text's pieces, as the definition has them; none for fewer than 5 characters."""
    plain = normalised(text)
    return frozenset(plain[at : at + PIECE] for at in range(len(plain) - PIECE + 1))


def _encoded(text: str) -> bytes:
    return text.encode("utf-32-le", "surrogatepass")


def _pieces(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash every piece of every text.

    Returns:
        The different hashes of each text, sorted, one text after the other; and how many
        each text has.
    """
    characters = np.frombuffer(_encoded("".join(texts)), dtype=np.uint32).astype(np.uint64)
    starts_at_most = len(characters) - PIECE + 1
    if starts_at_most <= 0:
        return np.empty(0, np.uint32), np.zeros(len(texts), np.int64)
    mixed = np.zeros(starts_at_most, dtype=np.uint64)
    for place, factor in enumerate(_FACTORS):
        mixed += characters[place : place + starts_at_most] * factor
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    mixed >>= _HALF
    sizes = np.array([len(text) for text in texts])
    owners = np.repeat(np.arange(len(texts), dtype=np.uint64), sizes)
    # A piece must not begin in one text and end in the next.
    whole = owners[:starts_at_most] == owners[PIECE - 1 :]
    both = (owners[:starts_at_most][whole] << _HALF) | mixed[whole]
    both.sort()  # and not `np.unique`, which takes ten times as long
    both = both[np.append(True, both[1:] != both[:-1])] if len(both) else both
    lengths = np.bincount((both >> _HALF).astype(np.int64), minlength=len(texts))
    return both.astype(np.uint32), lengths


def _halvings(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say how often each set must be halved to have at most about `MOST_PIECES`."""
    over = np.maximum(lengths, 1) / MOST_PIECES
    halvings: NDArray[np.int64] = np.maximum(0, np.ceil(np.log2(over))).astype(np.int64)
    return halvings


def _is_kept(pieces: Hashes, halvings: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Keep the hashes that a power of two divides: the same ones in every text."""
    masks = (np.int64(1) << halvings) - 1
    kept: NDArray[np.bool_] = (pieces & masks.astype(np.uint32)) == 0
    return kept


def _joined(groups: Groups, members: NDArray[np.int64], firsts: NDArray[np.int64]) -> Groups:
    """Join the groups of each member and the first of its kind."""
    every = np.arange(len(groups), dtype=np.int64)
    ends = np.concatenate([every, members]), np.concatenate([groups, firsts])
    return components(len(groups), *ends)
