"""Are the sample posts fit for a demo, and are training files read with care?"""

from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from sidecar.core.errors import Invalid
from sidecar.up.laboratory.posts import (
    demo_posts,
    read_labelled,
    sample_posts,
    training_posts,
)

LABELS = {"relevant", "irrelevant", "maybe"}


def test_there_are_many_distinct_posts_in_a_small_file() -> None:
    posts = sample_posts()
    assert len(posts) >= 400
    assert len({post.item_id for post in posts}) == len(posts)
    assert len({post.post_text for post in posts}) == len(posts)
    raw = resources.files("sidecar.up.laboratory").joinpath("posts.jsonl").read_bytes()
    assert len(raw) < 150_000


def test_authors_post_more_than_once_so_that_units_repeat() -> None:
    authors = Counter(post.author for post in demo_posts())
    assert 100 <= len(authors) < len(demo_posts())
    assert sum(count > 1 for count in authors.values()) > 30


def test_no_post_is_both_sent_and_learned_from() -> None:
    sent, learned = set(demo_posts()), set(training_posts())
    assert not sent & learned
    assert sent | learned == set(sample_posts())
    assert {post.label for post in sent} == LABELS == {post.label for post in learned}


def test_without_a_file_a_judge_learns_from_our_training_half() -> None:
    texts = {one.text for one in read_labelled(None)}
    assert texts == {post.post_text for post in training_posts()}


def test_a_training_file_may_hold_blank_lines_and_other_keys(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"post_text": "a", "label": "yes", "x": 1}\n\n{"post_text": "b", "label": "no"}\n'
    )
    assert [(one.text, one.label) for one in read_labelled(path)] == [("a", "yes"), ("b", "no")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param("{", "line 1 .* is not JSON", id="no JSON"),
        pytest.param('{"post_text": "a"}', "line 1 .* must be an object with", id="no label"),
        pytest.param("[1]", "line 1 .* must be an object with", id="no object"),
        pytest.param(
            '{"post_text": "a", "label": ""}', "must be an object with", id="empty label"
        ),
        pytest.param(
            '{"post_text": "a", "label": "yes"}', "needs two labels or more", id="one label"
        ),
        pytest.param("", "needs two labels or more, found \\[\\]", id="empty file"),
    ],
)
def test_a_training_file_that_cannot_teach_is_refused_by_line(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(content)
    with pytest.raises(Invalid, match=complaint):
        read_labelled(path)


def test_a_missing_training_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"absent\.jsonl.* cannot be read: No such file"):
        read_labelled(tmp_path / "absent.jsonl")
