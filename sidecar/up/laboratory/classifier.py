"""Which label has a text, by what was learned from labelled ones?

TF-IDF over words and word pairs, and a logistic regression on top. scikit-learn trains;
one post is then judged by a few array look-ups, in well under a millisecond.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sidecar.up.laboratory.posts import Labelled

INVERSE_REGULARISATION = 10.0  # of 2, 5, 10 and 20 the best on both sets, by little
EVIDENCE_WORDS = 3


@dataclass(frozen=True, slots=True)
class Guess:
    """A label, its probability in (0, 1], and the words that speak loudest for it."""

    label: str
    probability: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A trained linear model, kept as plain arrays."""

    labels: tuple[str, ...]
    analyse: Callable[[str], list[str]]
    column: dict[str, int]
    idf: NDArray[np.float64]  # one a feature
    weights: NDArray[np.float64]  # one row a feature, one column a label
    bias: NDArray[np.float64]  # one a label

    def guess(self, text: str) -> Guess:
        """Judge one text; one without any known word gets what is likely beforehand."""
        counts = Counter(one for one in self.analyse(text) if one in self.column)
        features = list(counts)
        columns = np.array([self.column[one] for one in features], dtype=np.intp)
        times = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        # The same as TfidfVectorizer(sublinear_tf=True): 1 + log(tf), times idf, unit length.
        values = (1 + np.log(times)) * self.idf[columns]
        values /= np.sqrt(values @ values) or 1.0
        shares = values[:, None] * self.weights[columns]
        scores = shares.sum(axis=0) + self.bias
        odds = np.exp(scores - scores.max())
        best = int(odds.argmax())
        loudest = np.argsort(-shares[:, best])[:EVIDENCE_WORDS]
        evidence = tuple(features[position] for position in loudest)
        return Guess(self.labels[best], float(odds[best] / odds.sum()), evidence)


def train(examples: Sequence[Labelled]) -> TextClassifier:
    """Learn from labelled texts, with at least two labels among them.

    The result depends on the examples alone: the solver starts from zero, without dice.
    """
    vectorizer: Any = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model: Any = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
    matrix = vectorizer.fit_transform([one.text for one in examples])
    # One thread: on a busy machine the others only wait for each other, for many seconds.
    with threadpool_limits(limits=1):
        model.fit(matrix, [one.label for one in examples])
    weights, bias = np.asarray(model.coef_, dtype=np.float64), np.asarray(model.intercept_)
    if len(weights) == 1:  # two labels: one row speaks for the second, against zero
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, *bias])
    return TextClassifier(
        labels=tuple(str(label) for label in model.classes_),
        analyse=vectorizer.build_analyzer(),
        column=dict(vectorizer.vocabulary_),
        idf=np.asarray(vectorizer.idf_, dtype=np.float64),
        weights=np.ascontiguousarray(weights.T),
        bias=bias,
    )
