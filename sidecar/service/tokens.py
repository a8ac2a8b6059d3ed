"""How many tokens is a text? By the encoding of OpenAI's present models, without a network.

Its file comes with the installed LiteLLM, whose code is not loaded for it. Other providers
count otherwise, by a tenth or so: what is told is an estimate, and says by which encoding.
"""

import base64
import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import tiktoken

from sidecar.core.errors import Unavailable

ENCODING = "o200k_base"
# What a message costs beside its text, and an answer's beginning (OpenAI's cookbook, "How to
# count tokens with tiktoken").
PER_MESSAGE = 3
PER_ROW = 3

_PACKAGE = "litellm"
_FOLDER = Path("litellm_core_utils/tokenizers")
_FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"  # as tiktoken's cache would name it
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_SPECIAL = {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}
_LOWER, _UPPER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PIECES = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
_REMEMBERED = 256  # texts, such as a system prompt that comes with every row
_THREADS = 2


class Tokens:
    """Counts tokens; the encoding takes a second to load, so it is loaded once."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        """Use an encoding, as `load` gives it."""
        self._encoding = encoding
        self._known: dict[str, int] = {}

    def count_all(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Count the tokens of each row.

        Args:
            rows: The texts of each one's messages.
        """
        wanted = {text for row in rows for text in row} - self._known.keys()
        new = sorted(wanted)
        counts = self._known | dict(zip(new, self._counts(new), strict=True))
        found = [PER_ROW + sum(PER_MESSAGE + counts[text] for text in row) for row in rows]
        self._remember(rows, counts)
        return found

    def _counts(self, texts: Sequence[str]) -> Iterator[int]:
        """Count in threads, of which each has texts enough to be worth it."""

        def count(some: Sequence[str]) -> list[int]:
            return [len(self._encoding.encode_ordinary(text)) for text in some]

        share = -(-len(texts) // _THREADS) or 1
        portions = [texts[start : start + share] for start in range(0, len(texts), share)]
        with ThreadPoolExecutor(_THREADS) as threads:
            return chain.from_iterable(threads.map(count, portions))

    def _remember(self, rows: Sequence[Sequence[str]], counts: dict[str, int]) -> None:
        """Keep the counts of texts that begin several rows: these come again."""
        firsts = [row[0] for row in rows if row]
        seen: set[str] = set()
        self._known = {}
        for text in firsts:
            if text in seen and len(self._known) < _REMEMBERED:
                self._known[text] = counts[text]
            seen.add(text)


@functools.cache
def load() -> tiktoken.Encoding:
    """Load the encoding from the installed package's file.

    Raises:
        Unavailable: The file is not there, or is another one.
    """
    found = importlib.util.find_spec(_PACKAGE)
    folders = () if found is None else found.submodule_search_locations or ()
    for path in (Path(folder) / _FOLDER / _FILE for folder in folders):
        if path.is_file():
            return tiktoken.Encoding(
                ENCODING,
                pat_str=_PIECES,
                mergeable_ranks=_ranks(path.read_bytes()),
                special_tokens=_SPECIAL,
            )
    msg = f"the tokens cannot be counted: {_PACKAGE} has no file {_FOLDER / _FILE}"
    raise Unavailable(msg)


def _ranks(file: bytes) -> dict[bytes, int]:
    if hashlib.sha256(file).hexdigest() != _SHA256:
        msg = f"the tokens cannot be counted: {_FOLDER / _FILE} is not {ENCODING}"
        raise Unavailable(msg)
    lines = (line.split() for line in file.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}
