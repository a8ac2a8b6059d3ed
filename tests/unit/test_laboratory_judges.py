"""Do the judges really judge, and is one of them truly better?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sidecar.up.laboratory.classifier import INVERSE_REGULARISATION, TextClassifier, train
from sidecar.up.laboratory.judges import (
    ClassifierJudge,
    Judge,
    KeywordJudge,
    draft,
    keyword_judge,
)
from sidecar.up.laboratory.posts import Labelled, demo_posts, read_labelled


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return train(read_labelled(None))


def accuracy(judge: Judge) -> float:
    posts = demo_posts()
    return sum(judge.judge(post.post_text).label == post.label for post in posts) / len(posts)


def test_on_posts_neither_has_seen_the_classifier_is_truly_better(
    classifier: TextClassifier,
) -> None:
    weak = accuracy(keyword_judge(read_labelled(None), None))
    good = accuracy(ClassifierJudge(classifier))
    assert 0.5 < weak < 0.72
    assert 0.78 < good < 0.95
    assert good - weak > 0.15


@pytest.mark.parametrize("labels", [("relevant", "maybe", "irrelevant"), ("no", "yes")])
def test_the_classifier_computes_what_scikit_learn_would(labels: Sequence[str]) -> None:
    examples = [
        Labelled(one.text, labels[number % len(labels)])
        for number, one in enumerate(read_labelled(None))
    ]
    ours = train(examples)
    vectorizer: Any = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    matrix = vectorizer.fit_transform([one.text for one in examples])
    theirs: Any = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
    with threadpool_limits(limits=1):  # as ours: with more, a busy machine takes seconds
        theirs.fit(matrix, [one.label for one in examples])
    texts = [*(post.post_text for post in demo_posts()[:60]), "", "zzzz", "down down status"]
    probabilities = theirs.predict_proba(vectorizer.transform(texts))
    guesses = [ours.guess(text) for text in texts]
    assert np.allclose([guess.probability for guess in guesses], probabilities.max(axis=1))
    predicted = theirs.classes_[probabilities.argmax(axis=1)]
    assert [guess.label for guess in guesses] == list(predicted)


def test_training_twice_gives_the_same_judge(classifier: TextClassifier) -> None:
    again = train(read_labelled(None))
    assert np.array_equal(classifier.weights, again.weights)


def test_the_classifier_names_words_of_the_post_as_its_evidence(
    classifier: TextClassifier,
) -> None:
    text = "we are looking for an uptime monitor with a status page"
    guess = classifier.guess(text)
    assert guess.label == "relevant"
    assert guess.evidence
    assert all(set(word.split()) <= set(text.split()) for word in guess.evidence)


def test_a_post_without_a_known_word_is_still_judged(classifier: TextClassifier) -> None:
    opinion = ClassifierJudge(classifier).judge("\U0001f600 \x00 \ud800")
    assert opinion.label in classifier.labels
    assert 0 < opinion.confidence < 1
    assert opinion.reasoning == "It holds no word I have learned from."


def test_a_keyword_rule_can_be_set() -> None:
    judge = keyword_judge(
        [Labelled("a", "no"), Labelled("b", "no"), Labelled("c", "yes")],
        {"yes": ["Outage", "pager"], "no": ["dog"]},
    )
    assert judge.labels == ("yes", "no")
    assert judge.judge("OUTAGE! pager! dog!").label == "yes"
    assert judge.judge("my dog, an outage").label == "yes"  # a tie: the first listed
    assert judge.judge("dogs and outages").label == "no"  # whole words only, so the fallback
    assert judge.judge("outage").reasoning == "It mentions: outage."


def test_a_keyword_rule_takes_typical_words_of_the_training_texts() -> None:
    examples = [
        Labelled("the server crashed with the cake", "tech"),
        Labelled("the server restarted", "tech"),
        Labelled("the cake tasted sweet", "food"),
        Labelled("the cake burned", "food"),
    ]
    judge: KeywordJudge = keyword_judge(examples, None)
    assert judge.judge("our server").label == "tech"
    assert judge.judge("their cake").label == "food"
    assert all("the" not in words for words in judge.keywords.values())


def test_a_draft_is_a_reply_to_the_post_and_always_the_same() -> None:
    post = "Which status page do you use?"
    assert draft(post) == draft(post)
    assert "status page" in draft(post)
    assert len({draft(post.post_text) for post in demo_posts()}) > 20
    assert draft("")
    assert draft("\ud800")
