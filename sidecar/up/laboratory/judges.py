"""What does a model answer to a text?

Two judges give a label for a reason of their own: a crude keyword rule and a trained
classifier. Two writers only write: a drafter fills a reply, an echo repeats.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.up.laboratory.classifier import TextClassifier
from sidecar.up.laboratory.posts import Labelled

READ_CHARS = 20_000  # a judge reads this much; judging a book must not stop the event loop
KEYWORDS_PER_LABEL = 8  # few, so that the rule stays the rule of thumb it is meant to be
_WORD = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True, slots=True)
class Opinion:
    """A judge's label, its confidence in [0, 1], and one sentence why."""

    label: str
    confidence: float
    reasoning: str


class Judge(Protocol):
    """Gives every text one of its labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels it can give."""

    def judge(self, text: str) -> Opinion:
        """Say which label the text has."""


@dataclass(frozen=True, slots=True)
class KeywordJudge:
    """Counts listed words; the label with most wins, the first listed on a tie."""

    keywords: Mapping[str, frozenset[str]]
    fallback: str  # the answer when no listed word occurs

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have keywords, and the fallback."""
        return tuple(dict.fromkeys([*self.keywords, self.fallback]))

    def judge(self, text: str) -> Opinion:
        """Look for the words, whatever they mean here."""
        words = set(re.findall(r"\w+", text[:READ_CHARS].casefold()))
        hits = {label: words & listed for label, listed in self.keywords.items()}
        total = sum(len(found) for found in hits.values())
        if total == 0:
            return Opinion(self.fallback, 0.5, "None of the words I look for occurs.")
        label = max(hits, key=lambda one: len(hits[one]))
        found = ", ".join(sorted(hits[label]))
        confidence = (len(hits[label]) + 1) / (total + 2)
        return Opinion(label, round(confidence, 4), f"It mentions: {found}.")


@dataclass(frozen=True, slots=True)
class ClassifierJudge:
    """Asks a trained classifier."""

    classifier: TextClassifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the training file."""
        return self.classifier.labels

    def judge(self, text: str) -> Opinion:
        """Take the likeliest label, with its probability as the confidence."""
        guess = self.classifier.guess(text[:READ_CHARS])
        reasoning = (
            f"What speaks loudest for it: {', '.join(guess.evidence)}."
            if guess.evidence
            else "It holds no word I have learned from."
        )
        return Opinion(guess.label, round(guess.probability, 4), reasoning)


def keyword_judge(
    examples: Sequence[Labelled], keywords: Mapping[str, Sequence[str]] | None
) -> KeywordJudge:
    """Build a keyword rule.

    Args:
        examples: Labelled texts; the commonest label is the rule's fallback.
        keywords: Words by label, matched whole and without regard to case. `None` takes
            for each label the words that occur more in its texts than in the others'.
    """
    texts_of = Counter(one.label for one in examples)
    fallback = max(sorted(texts_of), key=lambda label: texts_of[label])
    listed = _typical_words(examples) if keywords is None else keywords
    folded = {
        label: frozenset(word.casefold() for word in words) for label, words in listed.items()
    }
    return KeywordJudge(folded, fallback)


def draft(post: str) -> str:
    """Write a short reply to a post; the same post always gets the same reply."""
    text = post[:READ_CHARS]
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4])
    lowered = text.casefold()
    topic = next((reply for word, reply in _TOPICS.items() if word in lowered), _ANY_TOPIC)
    opening = _OPENINGS[number % len(_OPENINGS)]
    closing = _CLOSINGS[number // len(_OPENINGS) % len(_CLOSINGS)]
    return f"{opening} {topic} {closing}"


def _typical_words(examples: Sequence[Labelled]) -> dict[str, list[str]]:
    """List the words whose share of a label's texts most exceeds their share of the others'."""
    total = Counter(one.label for one in examples)
    texts_with = {label: Counter[str]() for label in sorted(total)}
    for one in examples:
        texts_with[one.label].update(set(_WORD.findall(one.text.casefold())))
    everywhere = sum(texts_with.values(), Counter[str]())
    listed = {}
    for label, counts in texts_with.items():
        others = max(len(examples) - total[label], 1)
        excess = {
            word: count / total[label] - (everywhere[word] - count) / others
            for word, count in counts.items()
        }
        listed[label] = sorted(excess, key=lambda word: (-excess[word], word))[
            :KEYWORDS_PER_LABEL
        ]
    return listed


_OPENINGS = (
    "That sounds like a rough one.",
    "We have been there ourselves.",
    "Thanks for putting it so plainly.",
    "Nobody should have to find out that way.",
)
_TOPICS = {
    "status page": "A hosted status page that your support team can update takes an afternoon"
    " to set up, and it stays up when you do not.",
    "cert": "Tidepool warns you two weeks before a certificate or a domain expires.",
    "cron": "Tidepool expects a heartbeat from each job and calls when one is missed.",
    "alert": "Tidepool confirms a failure from a second region before it wakes anyone,"
    " and groups the rest.",
    "sla": "Tidepool keeps an uptime history you can hand to a customer as it is.",
    "price": "Tidepool charges by check, not by person, and the first ten are free.",
    "down": "Tidepool checks every thirty seconds from five regions and calls who is on duty.",
}
_ANY_TOPIC = (
    "Tidepool watches sites, APIs and jobs from outside and tells people what is going on."
)
_CLOSINGS = (
    "Happy to show you, if that helps.",
    "Shall I send you a link?",
    "Tell me what you run today, and I will say honestly if it fits.",
)
