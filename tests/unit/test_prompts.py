"""Which prompt does a request hold, and is every byte of it the request's own?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.contents import join, split
from sidecar.core.prompts import Prompt, digest, own_text, parts, prompt_of, texts
from sidecar.service.documents import decode, encode, encode_exactly

# Texts as clients send them: any code point, NUL and half of a surrogate pair too; and
# sometimes so long that they are kept apart from the request.
TEXTS = st.text(st.characters()) | st.text('ab\x00\ud800é"\\😀', min_size=150, max_size=400)
SOME_TEXTS = st.lists(TEXTS, min_size=1, max_size=3)


def contents(kinds: list[str]) -> st.SearchStrategy[Any]:
    part = st.builds(
        lambda kind, text, more: {"type": kind, "text": text, **more},
        st.sampled_from(kinds),
        TEXTS,
        st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}]),
    )
    return TEXTS | st.lists(part, min_size=1, max_size=3)


def messages(roles: list[str], kinds: list[str]) -> st.SearchStrategy[Any]:
    one = st.fixed_dictionaries({"role": st.sampled_from(roles), "content": contents(kinds)})
    return st.lists(one, min_size=1, max_size=4)


CHAT = st.fixed_dictionaries(
    {
        "model": TEXTS,
        "messages": messages(["system", "developer", "user", "assistant"], ["text"]),
    }
)
MESSAGES = st.fixed_dictionaries(
    {"messages": messages(["user", "assistant"], ["text"])},
    optional={"system": contents(["text"]), "max_tokens": st.integers()},
)
RESPONSES = st.fixed_dictionaries(
    {"input": TEXTS | messages(["user", "assistant"], ["input_text", "output_text"])},
    optional={"instructions": TEXTS, "temperature": st.floats()},
)


@given(
    st.one_of(
        CHAT.map(lambda body: ("chat", body)),
        MESSAGES.map(lambda body: ("messages", body)),
        RESPONSES.map(lambda body: ("responses", body)),
    )
)
def test_every_text_of_the_prompt_is_found_in_the_journalled_request(
    asked: tuple[str, dict[str, Any]],
) -> None:
    surface, drawn = asked
    body = json.loads(json.dumps(drawn))  # as read: the halves of a pair have met
    journalled = encode_exactly(body)
    _, writes = decode(journalled)
    stored = split(body, writes)
    whole = join(stored.skeleton, stored.parts)
    assert whole == journalled
    request, exact = decode(whole)
    assert isinstance(request, dict)
    prompt = prompt_of(surface, request)
    assert prompt is not None
    said = [text for message in prompt.messages for text in texts(message["content"])]
    assert len(said) == _count(body)
    assert all(encode(text) in journalled for text in said)
    found, _ = parts(prompt, exact)
    assert [m["content"] for m in json.loads(found)] == [m["content"] for m in prompt.messages]
    if surface == "chat":
        assert found in journalled


def _count(body: dict[str, Any]) -> int:
    """Count the texts of a request, however it holds them."""
    said = body.get("messages", body.get("input"))
    said = [{"content": said}] if isinstance(said, str) else said
    before = [body[name] for name in ("system", "instructions") if body.get(name)]
    contents = [message["content"] for message in said] + before
    return sum(1 if isinstance(content, str) else len(content) for content in contents)


def test_a_system_prompt_of_any_surface_comes_first() -> None:
    said = [{"role": "user", "content": "Hi"}]
    wanted = [{"role": "system", "content": "Be brief."}, *said]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    found = [
        prompt_of("chat", {"messages": wanted}),
        prompt_of("messages", {"system": "Be brief.", "messages": said}),
        prompt_of("messages", {"system": system, "messages": said}),
        prompt_of("responses", {"instructions": "Be brief.", "input": "Hi"}),
        prompt_of("responses", {"instructions": "Be brief.", "input": said}),
    ]
    assert found == [Prompt(wanted, None)] * 5
    assert len({digest(*parts(each, encode)) for each in found if each is not None}) == 1


def test_several_texts_of_a_message_are_not_joined() -> None:
    content = [{"type": "input_text", "text": "One."}, {"type": "input_text", "text": "Two."}]
    found = prompt_of("responses", {"input": [{"role": "user", "content": content}]})
    assert found is not None
    assert found.messages[0]["content"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two."},
    ]
    assert own_text(found) == "One.\nTwo."


@pytest.mark.parametrize(
    ("surface", "request_"),
    [
        pytest.param("embeddings", {"input": "a text"}, id="an embedding"),
        pytest.param("text_completion", {"prompt": "a text"}, id="no chat"),
        pytest.param("chat", {}, id="no messages"),
        pytest.param("chat", {"messages": []}, id="an empty list of messages"),
        pytest.param("chat", {"messages": "Hi"}, id="messages that are none"),
        pytest.param("chat", {"messages": ["Hi"]}, id="a message that is none"),
        pytest.param("chat", {"messages": [{"content": "Hi"}]}, id="a message of nobody"),
        pytest.param("chat", {"messages": None}, id="null"),
        pytest.param("messages", {"messages": [{"role": "user", "content": 7}]}, id="a number"),
        pytest.param("messages", {"messages": [{"role": "user", "content": []}]}, id="nothing"),
        pytest.param("responses", {"input": None}, id="no input"),
        pytest.param(
            "responses", {"input": "Hi", "previous_response_id": "resp_1"}, id="goes on"
        ),
        pytest.param("responses", {"input": "Hi", "prompt": {"id": "pmpt_1"}}, id="a template"),
        pytest.param("responses", {"input": "Hi", "conversation": "conv_1"}, id="conversation"),
        pytest.param(
            "responses",
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "7"}]},
            id="a tool's result",
        ),
        pytest.param(
            "responses", {"input": "Hi", "tools": [{"type": "web_search"}]}, id="their tool"
        ),
        pytest.param(
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            id="a picture",
        ),
        pytest.param(
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]},
            id="a text that is null",
        ),
    ],
)
def test_what_this_form_cannot_say_is_no_prompt(surface: str, request_: dict[str, Any]) -> None:
    assert prompt_of(surface, request_) is None


def test_tools_of_every_surface_have_one_form() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    plain = {"name": "weather", "description": "Tells it."}
    chat = {"type": "function", "function": {**plain, "parameters": schema}}
    said = [{"role": "user", "content": "Hi"}]
    found = [
        prompt_of("chat", {"messages": said, "tools": [chat]}),
        prompt_of("chat", {"messages": said, "functions": [chat["function"]]}),
        prompt_of("messages", {"messages": said, "tools": [{**plain, "input_schema": schema}]}),
        prompt_of(
            "responses",
            {"input": "Hi", "tools": [{"type": "function", **plain, "parameters": schema}]},
        ),
    ]
    assert found == [Prompt(said, [chat])] * 4


def test_a_chat_with_tool_calls_is_kept_as_it_is() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "7"},
    ]
    found = prompt_of("chat", {"messages": said, "tools": []})
    assert found == Prompt(said, None)
    assert own_text(found) == "Hi"


def test_a_prompt_that_nobody_asked_has_no_text_of_its_own() -> None:
    assert own_text(Prompt([{"role": "system", "content": "Be brief."}], None)) == ""
    assert own_text(Prompt([{"role": "user", "content": None}], None)) == ""


def test_tools_are_part_of_what_tells_prompts_apart() -> None:
    assert len({digest(b"[1]", None), digest(b"[1]", b"[2]"), digest(b"[2]", None)}) == 3
