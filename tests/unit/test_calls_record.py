import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.worker import encode
from sidecar.core.calls import (
    Answer,
    Attempt,
    CallRecord,
    Enrichment,
    Outcome,
    kept_id,
    new_call_id,
    read_line,
    started_at_of,
)
from sidecar.core.errors import Invalid

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECORD = CallRecord(
    call_id=new_call_id(NOON, lambda count: b"\x01" * count),
    started_at=NOON,
    project_id="p",
    key_id=None,
    surface="chat",
    stream=False,
    requested_model="judge",
    group="judge",
    task="judge",
    labels=("relevant", "maybe"),
    experiment_id="yaml-judge",
    epoch=1,
    stage=2,
    generation=3,
    unit_id="u",
    unit_source="user",
    bucket=17,
    assigned_arm="canary",
    share_bp=2_000,
    served_deployment="d",
    served_arm="primary",
    provider_model=None,
    outcome=Outcome.FAILED_OVER,
    attempts=(Attempt("c", "Timeout", 408),),
    request={"model": "judge"},
    answer=Answer("text", [{"id": 1}], None, ["other"]),
    finish_reason="stop",
    prompt_tokens=1,
    completion_tokens=2,
    cached_tokens=None,
    cost_usd=None,
    latency_ms=1.5,
    ttft_ms=None,
    status=200,
    error_class=None,
    metadata={},
)
texts = st.text(st.characters())  # lone surrogates and NUL too
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4), texts)
def test_a_record_comes_back_as_it_was_journalled(body: dict[str, Any], text: str) -> None:
    record = replace(RECORD, request=body, answer=replace(RECORD.answer, text=text))
    line = encode(record.to_line())
    assert b"\n" not in line
    assert read_line(json.loads(line)) == record


def test_an_enrichment_comes_back_as_it_was_journalled() -> None:
    enrichment = Enrichment(RECORD.call_id, cost_usd=0.1, prompt_tokens=5)
    assert read_line(json.loads(encode(enrichment.to_line()))) == enrichment


@pytest.mark.parametrize(
    "change",
    [
        {"form": 2},
        {"kind": "guess"},
        {"kind": ["call"]},
        {"call_id": "x"},
        {"outcome": "lost"},
        {"started_at": "noon"},
        {"attempts": 7},
        {"attempts": [{"who": 1}]},
        {"answer": None},
        {"request": "text"},
        {"labels": None},
    ],
    ids=str,
)
def test_a_line_that_says_something_else_is_refused_without_quoting_it(
    change: dict[str, Any],
) -> None:
    with pytest.raises(Invalid) as refused:
        read_line(json.loads(encode(RECORD.to_line())) | change)
    assert "guess" not in str(refused.value)


def test_a_line_of_an_older_proxy_is_a_record_without_an_answers_id() -> None:
    line = json.loads(encode(replace(RECORD, response_id="a").to_line()))
    del line["response_id"]
    assert read_line(line) == RECORD


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("chatcmpl-1", True),
        ("x" * 1_000, True),
        ("x" * 1_001, False),
        ("a\x00b", False),
        ("a\ud800b", False),
        ("é", False),
        ("", False),
        (7, False),
        (None, False),
    ],
    ids=["short", "long", "too long", "NUL", "a surrogate", "a letter", "empty", "a 7", "no"],
)
def test_an_answers_id_is_kept_whole_or_not_at_all(given: object, kept: bool) -> None:
    assert kept_id(given) == (given if kept else None)


@pytest.mark.parametrize("missing", ["call_id", "request", "outcome", "labels"])
def test_a_line_that_lacks_something_is_refused(missing: str) -> None:
    line = json.loads(encode(RECORD.to_line()))
    del line[missing]
    with pytest.raises(Invalid):
        read_line(line)


@given(
    st.integers(0, 10**10).map(lambda number: NOON + timedelta(milliseconds=number)),
    st.binary(min_size=10, max_size=10),
)
def test_a_call_id_carries_its_moment_and_sorts_by_it(now: datetime, noise: bytes) -> None:
    call_id = new_call_id(now, lambda _count: noise)
    assert timedelta(0) <= now - started_at_of(call_id) < timedelta(milliseconds=2)
    assert call_id < new_call_id(now + timedelta(milliseconds=2), lambda count: b"\0" * count)
    assert call_id[14] == "7"
    assert call_id[19] in "89ab"
