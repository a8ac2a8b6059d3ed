"""Rows as a project has them: units that come again, and texts that are nearly the same."""

import random
from dataclasses import dataclass

import numpy as np

from sidecar.core.likeness.near import Texts
from sidecar.core.splits import Divided, Shares, divide

AT_ONCE = 2_000


@dataclass
class Rows:
    """Made rows.

    Args:
        families: Of each row: whose text it is a variant of.
    """

    units: list[str]
    texts: list[str]
    families: list[int]


def made_rows(count: int, seed: int) -> Rows:
    """Make rows, of which a third are variants of others, and units have some each."""
    dice = random.Random(seed)  # noqa: S311  (no secret)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=k)) for k in _sizes(dice)]
    rows = Rows([], [], [])
    for row in range(count):
        rows.units.append(f"u-{dice.randrange(count // 4)}")
        if rows.texts and dice.random() < 0.35:
            origin = dice.randrange(max(0, row - 5_000), row)
            rows.texts.append(_varied(rows.texts[origin], words, dice))
            rows.families.append(rows.families[origin])
        else:
            rows.texts.append(" ".join(dice.choices(words, k=dice.randint(3, 40))))
            rows.families.append(row)
    return rows


def divided(rows: Rows, shares: Shares) -> Divided:
    """Place rows as a build does."""
    texts = Texts()
    for start in range(0, len(rows.texts), AT_ONCE):
        texts.add(rows.texts[start : start + AT_ONCE])
    numbers = {text: number for number, text in enumerate(dict.fromkeys(rows.texts))}
    prompts = np.array([numbers[text] for text in rows.texts], dtype=np.int64)
    return divide(rows.units, prompts, texts.groups(), shares)


def _sizes(dice: random.Random) -> list[int]:
    return [dice.randint(2, 9) for _ in range(8_000)]


def _varied(text: str, words: list[str], dice: random.Random) -> str:
    """Leave a text as it is, or change a word, or what tells no texts apart."""
    kind = dice.random()
    if kind < 0.2:
        return text
    if kind < 0.4:
        return f"{text.upper()}  https://x.example/{dice.random()}"
    parts = text.split()
    for _ in range(dice.randint(1, 2)):
        parts[dice.randrange(len(parts))] = dice.choice(words)
    return " ".join(parts)
