"""Are requests read, and answers written, as OpenAI's clients expect?"""

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.up.laboratory import answers, wire
from sidecar.up.laboratory.errors import ApiError

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates too
USER = {"role": "user", "content": "hello"}
TURN = answers.Turn("1", 5, "m", "one two", wire.Usage(9, 4, 2))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b"{}", id="no model"),
        pytest.param(b'{"model": 3}', id="a number for a model"),
        pytest.param(b"[" * 100_000, id="nested without end"),
    ],
)
def test_a_body_that_is_no_request_is_a_400(raw: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        wire.parse(raw)
    assert refused.value.status == 400


@given(ANY_TEXT)
def test_any_text_survives_reading_and_writing(text: str) -> None:
    raw = json.dumps({"model": "m", "text": text}).encode()
    assert json.loads(wire.dump(wire.parse(raw)))["text"] == json.loads(raw)["text"]


@given(ANY_TEXT)
def test_the_pieces_of_a_stream_join_to_the_text(text: str) -> None:
    cut = answers.pieces(text)
    assert "".join(cut) == text
    assert len(cut) <= answers.MAX_PIECES


def test_a_chat_is_read_whether_its_content_is_a_text_or_parts() -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "image_url"}, {"text": "lo"}, 7]
    texts = [USER["content"], parts]
    asks = [
        wire.chat_ask(
            {
                "model": "m",
                "messages": [{"role": "system", "content": "s"}, {**USER, "content": c}],
            }
        )
        for c in texts
    ]
    assert asks[0] == asks[1]
    assert (asks[0].system, asks[0].question) == ("s", "hello")


def test_the_question_is_the_last_user_message() -> None:
    said = [USER, {"role": "assistant", "content": None}, {"role": "user", "content": "again"}]
    assert wire.chat_ask({"model": "m", "messages": [*said, said[1]]}).question == "again"


def test_the_same_words_are_the_same_question_on_every_endpoint() -> None:
    system = {"role": "system", "content": "s"}
    typed = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hello"}],
    }
    chat = wire.chat_ask({"model": "m", "messages": [system, USER], "stream": True})
    responses = [
        wire.responses_ask({"model": "m", "input": "hello", "instructions": "s"}),
        wire.responses_ask({"model": "m", "input": [typed], "instructions": "s"}),
        wire.responses_ask({"model": "m", "input": [{**system, "role": "developer"}, USER]}),
    ]
    assert {ask.digest for ask in responses} == {chat.digest}


def test_other_words_are_another_question() -> None:
    bodies: list[list[dict[str, Any]]] = [
        [USER],
        [{"role": "user", "content": "hello!"}],
        [{"role": "system", "content": "hello"}, USER],
        [{"role": "user", "content": "hel"}, {"role": "user", "content": "lo"}],
        [{"role": "user", "content": "\ud800"}],
    ]
    digests = {wire.chat_ask({"model": "m", "messages": said}).digest for said in bodies}
    assert len(digests) == len(bodies)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({}, "messages", id="no messages"),
        pytest.param({"messages": []}, "messages", id="empty"),
        pytest.param({"messages": "hello"}, "messages", id="a text"),
        pytest.param({"messages": ["hello"]}, "messages", id="texts"),
        pytest.param(
            {"messages": [{"role": "system", "content": "s"}]}, "messages", id="no user"
        ),
        pytest.param({"messages": [USER], "n": 2}, "n", id="two choices"),
    ],
)
def test_a_chat_without_a_question_is_a_400(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        wire.chat_ask({"model": "m", **body})
    assert refused.value.status == 400
    assert refused.value.body["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({}, "input", id="no input"),
        pytest.param(
            {"input": "a", "previous_response_id": "r"}, "previous_response_id", id="go on"
        ),
    ],
)
def test_a_response_that_cannot_be_given_is_a_400(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        wire.responses_ask({"model": "m", **body})
    assert refused.value.body["error"]["param"] == param


@pytest.mark.parametrize(
    ("given_input", "texts"),
    [
        pytest.param("a b", ("a b",), id="a text"),
        pytest.param(["a", "b"], ("a", "b"), id="texts"),
        pytest.param([1, 2], ("1 2",), id="token ids"),
        pytest.param([[1], [2, 3]], ("1", "2 3"), id="lists of token ids"),
    ],
)
def test_embeddings_take_all_forms_of_input(
    given_input: object, texts: tuple[str, ...]
) -> None:
    assert wire.embedding_ask({"model": "m", "input": given_input}).texts == texts


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": []},
        {"input": ""},
        {"input": ["a", ""]},
        {"input": ["a", 1]},
        {"input": ["a"] * 2049},
        {"input": "a", "dimensions": 0},
        {"input": "a", "dimensions": "8"},
        {"input": "a", "encoding_format": "hex"},
    ],
)
def test_embeddings_of_nothing_or_of_impossible_form_are_a_400(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        wire.embedding_ask({"model": "m", **body})
    assert refused.value.status == 400


@given(ANY_TEXT, st.integers(1, 64))
def test_an_embedding_is_a_unit_vector_and_always_the_same(text: str, size: int) -> None:
    vector = wire.embedding(text, size)
    assert len(vector) == size
    assert math.isclose(sum(value * value for value in vector), 1)
    assert vector == wire.embedding(text, size)


def test_texts_that_share_words_have_nearer_embeddings() -> None:
    one, near, far = (
        wire.embedding(text, 256)
        for text in ("the site is down again", "our site is down", "cake with apples")
    )
    assert dot(one, near) > dot(one, far) + 0.3


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_tokens_are_a_quarter_of_the_bytes_rounded_up() -> None:
    assert [
        wire.tokens(text) for text in ("", "a", "abcd", "abcde", "\U0001f600", "\ud800")
    ] == [
        0,
        1,
        1,
        2,
        1,
        1,
    ]


def events(raw: list[bytes]) -> list[Any]:
    lines = b"".join(raw).decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [orjson.loads(line) for line in data if line != "[DONE]"]


def test_a_chat_stream_has_usage_only_when_asked_for() -> None:
    without = events(list(answers.chat_events(TURN, include_usage=False)))
    assert all("usage" not in event for event in without)
    asked = events(list(answers.chat_events(TURN, include_usage=True)))
    assert [event["usage"] for event in asked[:-1]] == [None] * len(without)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 4


def test_a_response_stream_tells_its_steps_in_order() -> None:
    told = events(list(answers.response_events(TURN)))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert [event["type"].removeprefix("response.") for event in told] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert told[0]["response"]["usage"] is None
    assert told[-1]["response"] == answers.response_answer(TURN)
    assert told[-1]["response"]["usage"]["total_tokens"] == 11
