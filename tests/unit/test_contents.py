"""Is a request that was taken apart the same when it is put together again?"""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.contents import UNIQUE_BYTES, Seen, join, references, split
from sidecar.core.errors import Invalid, NotFound
from sidecar.service.documents import Encode, decode, encode, encode_exactly
from tests.bodies import LONG, bodies


def exactly(value: object) -> str:
    """Tell apart what Python calls equal: 1, 1.0 and True, 0.0 and -0.0, orders of keys."""
    return json.dumps(value)


@given(bodies)
def test_joining_what_was_split_gives_the_very_same_encoding(body: dict[str, Any]) -> None:
    stored = split(body, encode_exactly)
    whole = join(stored.skeleton, stored.parts)
    assert whole == encode_exactly(body)
    assert exactly(decode(whole)[0]) == exactly(body)


@given(bodies)
def test_a_skeleton_names_all_its_parts_and_parts_are_named_by_their_hash(
    body: dict[str, Any],
) -> None:
    stored = split(body, encode_exactly)
    assert set(references(stored.skeleton)) == set(stored.parts)
    for digest, part in stored.parts.items():
        assert hashlib.sha256(part).digest() == digest


@given(bodies)
def test_what_was_read_can_be_written_by_the_encoder_that_comes_with_it(
    body: dict[str, Any],
) -> None:
    data = json.dumps(body).encode()
    found, exact = decode(data)
    assert exactly(found) == exactly(json.loads(data))
    assert exactly(json.loads(exact(found))) == exactly(json.loads(data))


@given(bodies)
def test_both_encoders_write_the_same_where_both_can(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    found, exact = decode(data)
    if exact is encode:
        assert encode(found) == encode_exactly(found)


def chat(system: str, user: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"model": "judge", "messages": messages, "temperature": 0}


SYSTEM = "Judge the post with care. " * 20
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {f"field_{n}": {"type": "string"} for n in range(9)},
    },
}


def test_two_requests_share_their_system_prompt_and_keep_their_short_posts() -> None:
    first, second = split(chat(SYSTEM, "one"), encode), split(chat(SYSTEM, "two"), encode)
    assert first.parts == second.parts
    assert [json.loads(part) for part in first.parts.values()] == [SYSTEM]
    assert b'"one"' in first.skeleton
    assert first.digest != second.digest
    assert first.digest == split(chat(SYSTEM, "one"), encode).digest


@pytest.mark.parametrize(
    ("body", "part"),
    [
        pytest.param({"system": SYSTEM}, SYSTEM, id="system"),
        pytest.param({"instructions": SYSTEM}, SYSTEM, id="instructions"),
        pytest.param({"tools": [TOOL]}, TOOL, id="a tool, made of short strings"),
        pytest.param(
            {"system": [{"type": "text", "text": SYSTEM}]}, SYSTEM, id="in blocks"
        ),
        pytest.param(
            {"input": [{"role": "developer", "content": SYSTEM}]}, SYSTEM, id="a developer"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
            LONG,
            id="a long text of a user",
        ),
    ],
)  # fmt: skip
def test_what_is_large_or_comes_with_every_call_is_a_part(
    body: dict[str, Any], part: object
) -> None:
    assert [json.loads(found) for found in split(body, encode).parts.values()] == [part]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"messages": [{"role": "user", "content": SYSTEM}]}, id="a user's post"),
        pytest.param({"system": "short"}, id="a short system prompt"),
        pytest.param({"messages": [{"role": ["system"], "content": "x"}]}, id="an odd role"),
        pytest.param({"metadata": {"note": "x" * (UNIQUE_BYTES - 50)}}, id="metadata"),
        pytest.param({}, id="nothing"),
    ],
)
def test_what_is_short_or_said_once_stays_in_the_skeleton(body: dict[str, Any]) -> None:
    stored = split(body, encode)
    assert (stored.parts, stored.skeleton) == ({}, encode(body))


def test_a_value_that_looks_like_a_reference_of_ours_is_not_followed() -> None:
    digest = hashlib.sha256(encode(SYSTEM)).hexdigest()
    body = {"system": SYSTEM, "user": {"$content": digest}}
    stored = split(body, encode)
    assert json.loads(join(stored.skeleton, stored.parts)) == body


def test_a_body_nested_deeper_than_we_look_is_kept_whole() -> None:
    deep: Any = "x"
    for _ in range(480):
        deep = [deep]
    body = {"messages": deep}
    stored = split(body, encode)
    assert join(stored.skeleton, stored.parts) == encode(body)


def test_the_body_that_is_split_stays_as_it_is() -> None:
    body = chat(SYSTEM, LONG) | {"tools": [TOOL]}
    before = exactly(body)
    assert len(split(body, encode).parts) == 3
    assert exactly(body) == before


@pytest.mark.parametrize("character", ["x", "\x1f", "\u20ac", "\U0001f600", '"', "\ud800"])
@pytest.mark.parametrize("beside", [{}, {"role": "user", "n": 1}, {"a": {"b": None}}])
def test_an_object_is_taken_as_a_whole_by_the_bytes_of_its_encoding(
    character: str, beside: dict[str, Any]
) -> None:
    def message(length: int) -> dict[str, Any]:
        return {"content": character * length} | beside

    first = next(n for n in range(5_000) if len(encode_exactly(message(n))) >= UNIQUE_BYTES)
    whole = message(first)
    assert not split({"messages": [message(first - 1)]}, encode_exactly).parts
    parts = split({"messages": [whole]}, encode_exactly).parts
    text = whole["content"] if first >= UNIQUE_BYTES else whole
    assert list(parts.values()) == [encode_exactly(text)]


@given(st.lists(bodies, max_size=6))
def test_what_was_seen_before_changes_no_body(several: list[dict[str, Any]]) -> None:
    seen: Seen = {}
    for body in several * 2:
        assert split(body, encode_exactly, seen) == split(body, encode_exactly)


def test_prompts_that_look_alike_are_told_apart_and_few_are_remembered() -> None:
    seen: Seen = {}
    for number in range(1_000):
        # Of one length, with one beginning and one end, but for the last ones.
        system = f"{'a' * 200}{number % 100:05d}{'z' * 200}{'y' * (number // 100)}"
        stored = split({"system": system}, encode, seen)
        assert list(stored.parts.values()) == [encode(system)]
    assert len(seen) <= 64


def test_a_missing_part_is_named() -> None:
    stored = split({"system": SYSTEM}, encode)
    with pytest.raises(NotFound, match=next(iter(stored.parts)).hex()):
        join(stored.skeleton, {})


@pytest.mark.parametrize(
    ("data", "encoder"),
    [
        pytest.param(b"18446744073709551616", encode, id="65 bits"),
        pytest.param(b"-9223372036854775809", encode, id="64 bits and a sign"),
        pytest.param(b"[1,123456789012345678901234567890]", encode, id="30 digits"),
        pytest.param(b"[1e16,1e-7,1.5e-5,-0.0,0.00030999999999999995]", encode, id="floats"),
        pytest.param(b'"\\ud800"', encode_exactly, id="a lone surrogate"),
        pytest.param(b"[NaN,Infinity]", encode_exactly, id="no JSON numbers"),
        pytest.param(b"1e400", encode_exactly, id="beyond a float"),
    ],
)
def test_what_a_fast_reader_may_change_or_refuse_is_read_and_written_exactly(
    data: bytes, encoder: Encode
) -> None:
    found, exact = decode(data)
    assert exact is encoder
    assert exactly(found) == exactly(json.loads(data))
    assert exactly(json.loads(exact(found))) == exactly(json.loads(data))
    assert exact(found) == encode_exactly(found)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'"\x01"', b"[" * 100_000, b"1" * 5_000])
def test_what_is_no_json_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(Invalid, match=f"{len(data)} bytes are no JSON"):
        decode(data)
