"""What the readers make of LiteLLM's own answers, as recorded from the pinned version."""

import json
from typing import Any

import pytest

from callbacks.payload.failure import read_attempts, status_of
from callbacks.payload.reply import (
    Usage,
    hidden_params,
    noted_deployment,
    plain,
    read_logged,
    read_reply,
    read_usage,
    served_deployment,
)
from callbacks.payload.stream import StreamReader
from sidecar.core.calls import Attempt
from tests.payloads import Recorded, error_of, restored, scenario, stream_of

VERDICT = {
    "label": "relevant",
    "confidence": 0.6548,
    "reasoning": "What speaks loudest for it: our, site, site down.",
}
FINISH = {"chat": "stop", "responses": "completed", "messages": "end_turn"}
SERVED_BY = {"served": "faulty-canary", "failed over": "faulty-primary"}
RUBBISH = [None, "text", 7, [], [None], {}, {"choices": [None]}, {"output": [None, 3]}, b"\xff"]
surfaces = pytest.mark.parametrize("surface", FINISH)


def read_stream(pieces: list[Any], response: object = None) -> Any:
    reader = StreamReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.reply(response)


@surfaces
@pytest.mark.parametrize("end", SERVED_BY)
def test_a_whole_answer_is_read_on_every_surface(surface: str, end: str) -> None:
    found = scenario(surface, "whole", end)["answered"]
    reply = read_reply(found["response"])
    assert json.loads(reply.answer.text or "") == VERDICT
    assert (reply.usage.prompt, reply.usage.completion) == (5, 26)
    assert reply.finish_reason == FINISH[surface]
    assert reply.provider_model == {"served": "bad", "failed over": "good"}[end]
    assert (reply.deployment or noted_deployment(found["data"])) == SERVED_BY[end]


@surfaces
@pytest.mark.parametrize("end", SERVED_BY)
def test_a_stream_adds_up_to_the_whole_answer(surface: str, end: str) -> None:
    stream = stream_of(scenario(surface, "stream", end))
    reply = read_stream(stream.pieces, stream)
    assert json.loads(reply.answer.text or "") == VERDICT
    assert reply.finish_reason == FINISH[surface]
    assert reply.provider_model is not None


@surfaces
def test_an_answers_id_is_read_whole_and_streamed(surface: str) -> None:
    whole = scenario(surface, "whole", "served")["answered"]["response"]
    assert read_reply(whole).response_id == whole["id"] if surface == "messages" else whole.id
    first = stream_of(scenario(surface, "stream", "served")).pieces[0]
    if surface == "messages":
        given = json.loads(first.split(b"data:")[1])["message"]["id"]
    else:
        given = getattr(first, "response", first).id
    assert given
    assert read_stream([first]).response_id == given


def test_a_streams_id_is_the_one_that_was_written_into_its_events_on_their_way() -> None:
    pieces = stream_of(scenario("responses", "stream", "served")).pieces
    pieces[0].response.id = "client's"  # as LiteLLM does once a piece has been passed on
    assert pieces[-1].response.id != "client's"
    assert read_stream(pieces).response_id == "client's"


@surfaces
def test_any_beginning_of_a_stream_is_a_beginning_of_its_text(surface: str) -> None:
    pieces = stream_of(scenario(surface, "stream", "served")).pieces
    whole = read_stream(pieces).answer.text
    texts = [read_stream(pieces[:n]).answer.text or "" for n in range(len(pieces) + 1)]
    assert all(whole.startswith(text) for text in texts)
    assert sorted(texts, key=len) == texts
    assert (texts[0], texts[-1]) == ("", whole)


def test_a_stream_of_bytes_may_be_cut_anywhere() -> None:
    pieces = stream_of(scenario("messages", "stream", "served")).pieces
    whole, joined = read_stream(pieces), b"".join(pieces)
    for size in (1, 7, 100):
        cut = [joined[at : at + size] for at in range(0, len(joined), size)]
        assert read_stream(cut) == whole


@surfaces
def test_only_the_last_piece_ends_a_stream(surface: str) -> None:
    pieces = stream_of(scenario(surface, "stream", "served")).pieces
    final = [StreamReader.is_final(piece) for piece in pieces]
    # Chat completions end with a mark that LiteLLM sends after the last piece.
    assert final == [False] * (len(pieces) - 1) + [surface != "chat"]


@surfaces
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_the_try_that_failed_first_is_read_once(surface: str, kind: str) -> None:
    found = scenario(surface, kind, "failed over")
    data = (found.get("answered") or found["streamed"])["data"]
    assert read_attempts(data) == (Attempt("faulty-canary", "InternalServerError", 500),)


@surfaces
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_call_that_failed_names_who_refused_it(surface: str, kind: str) -> None:
    found = scenario(surface, kind, "failed")
    error = error_of(found)
    assert status_of(error) == 400
    expected = (Attempt("faulty-canary", "BadRequestError", 400),)
    assert read_attempts(found["failed"]["data"], error) == expected


@surfaces
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_the_log_event_tells_the_tokens_of_every_surface(surface: str, kind: str) -> None:
    logged = scenario(surface, kind, "failed over")["logged"]
    reply = read_logged(logged["kwargs"], logged["response"])
    assert (reply.usage.prompt, reply.usage.completion) == (5, 26)
    assert reply.deployment == "faulty-primary"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (type("A", (Exception,), {"status_code": 429})(), 429),
        (type("B", (Exception,), {"status_code": "503"})(), 503),
        (type("C", (Exception,), {"status_code": None, "code": "401"})(), 401),
        (type("D", (Exception,), {"code": "invalid_api_key"})(), 500),
        (ValueError("400"), 500),
    ],
    ids=["a number", "digits", "the code instead", "a code of words", "none"],
)
def test_an_errors_status_is_the_one_the_client_sees(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_a_chat_answer_with_tools_choices_and_a_refusal_is_read_whole() -> None:
    call = {"$class": "Call", "id": "c1", "type": "function", "function": {"name": "f"}}
    first = {"content": None, "tool_calls": [call], "refusal": "No."}
    choices = [
        {"message": first, "finish_reason": "tool_calls"},
        {"message": {"content": "other"}},
    ]
    reply = read_reply(restored({"$class": "ModelResponse", "choices": choices}))
    assert (reply.answer.text, reply.answer.refusal) == (None, "No.")
    assert reply.answer.tool_calls == [
        {"id": "c1", "type": "function", "function": {"name": "f"}}
    ]
    assert (list(reply.answer.others), reply.finish_reason) == (["other"], "tool_calls")


def test_a_responses_answer_keeps_calls_and_says_why_it_is_incomplete() -> None:
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    details = {"reason": "max_output_tokens"}
    reply = read_reply(
        {"output": output, "status": "incomplete", "incomplete_details": details}
    )
    assert [call["name"] for call in reply.answer.tool_calls] == ["f"]
    assert (reply.answer.text, reply.answer.refusal) == ("", "No.")
    assert reply.finish_reason == "max_output_tokens"


def test_a_messages_answer_keeps_text_and_tools_apart() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
        {"type": "text", "text": "b"},
    ]
    answer = read_reply({"content": content, "stop_reason": "tool_use"}).answer
    assert answer.text == "ab"
    assert answer.tool_calls == [{"id": "t1", "name": "f", "input": {"x": 1}}]


def test_a_tool_call_in_fragments_is_put_together() -> None:
    def chunk(**call: Any) -> Recorded:
        piece = {"$class": "Call", "index": 0, **call}
        delta = {"$class": "Delta", "content": None, "tool_calls": [piece]}
        choice = {"$class": "StreamingChoices", "delta": delta}
        return Recorded({"choices": [choice], "model": "m"})

    pieces = [
        chunk(id="c1", type="function", function={"name": "f", "arguments": ""}),
        chunk(function={"arguments": '{"a"'}),
        chunk(function={"arguments": ": 1}"}),
    ]
    [call] = read_stream(pieces).answer.tool_calls
    assert call == {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": 1}'},
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 0, None)),
        (
            {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2},
            Usage(3, 4, 2),
        ),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}},
            Usage(9, None, 8),
        ),
        ({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}}, Usage(1, None, 0)),
        ({"prompt_tokens": "many"}, Usage()),
    ],
    ids=["nothing", "chat", "messages", "cached", "responses", "words"],
)
def test_tokens_are_read_under_any_surfaces_names(usage: Any, expected: Usage) -> None:
    assert read_usage(usage) == expected


@pytest.mark.parametrize("rubbish", RUBBISH, ids=repr)
def test_what_is_no_answer_is_read_as_an_empty_one(rubbish: Any) -> None:
    assert read_reply(rubbish).usage == Usage()
    assert (read_stream([rubbish]).answer.text or "") == ""
    assert hidden_params(rubbish) == {}
    assert served_deployment(rubbish) is None
    plain(rubbish)


@pytest.mark.parametrize("bucket", [None, "x", [], {}, {"previous_models": "x"}])
def test_rubbish_in_the_metadata_names_no_deployment_and_no_try(bucket: Any) -> None:
    data = {"metadata": bucket, "litellm_metadata": bucket}
    assert read_attempts(data) == ()
    assert noted_deployment(data) is None
