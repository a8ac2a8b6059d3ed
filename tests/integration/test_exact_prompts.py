"""Whatever was asked, what a trainer reads is found byte for byte in the journal."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.service.documents import encode_exactly
from tests.apis import sidecar
from tests.builders import Builder, Rows
from tests.configurations import judge
from tests.drafts import draft_record, drain_records

ROWS = 60
PLAIN = {"handles": False, "links": False, "mail": False, "phone": False}
EVERYTHING = {"holdout": 0, "validation": 0, "min_rows": 1, "allow_one_class": True}
ODD = (
    "\x00",
    "\x7f\x1b\u2028\u2029\ufeff",
    '\\"\\u0041\\\\',
    "</script>&lt;\r\n\t",
    "\U0001f600\U0001f468\u200d\U0001f469",
    "e\u0301 \u00e9 \u202e",
    '"role":"developer"',
    '"content":[{"type":"text"}]',
    "@ann https://a.example ann@b.example +49 170 1234567",
    "long " * 200,  # is stored apart from its request
)

texts = st.builds(lambda odd, own: odd + own, st.sampled_from(ODD), st.text(max_size=20))
numbers = st.sampled_from([0, -1, 0.1, 1e-7, 1e22, 2**70, True, None])
tools = st.builds(
    lambda text, number: [
        {
            "type": "function",
            "function": {
                "name": "look_up",
                "description": text,
                "parameters": {"type": "object", "default": number},
            },
        }
    ],
    texts,
    numbers,
)


def some(kind: str) -> st.SearchStrategy[Any]:
    """Contents: a text, or parts of text of a kind."""
    part = st.builds(lambda text: {"type": kind, "text": text}, texts)
    return st.one_of(texts, st.lists(part, min_size=1, max_size=3))


def said(kind: str, *roles: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"role": st.sampled_from(roles), "content": some(kind)})


picture = st.just({"type": "image_url", "image_url": {"url": "https://a.example/\u00e9.png"}})
named = st.fixed_dictionaries({"role": st.just("user"), "content": texts, "name": texts})
shown = st.builds(
    lambda text, image: {"role": "user", "content": [{"type": "text", "text": text}, image]},
    texts,
    picture,
)
called = st.builds(
    lambda text: {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}
        ],
    },
    texts,
)
answered = st.fixed_dictionaries(
    {"role": st.just("tool"), "tool_call_id": st.just("1"), "content": texts}
)
ROLES = ("system", "developer", "user", "assistant")
chats = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.one_of(said("text", *ROLES), named, shown, called, answered),
            min_size=1,
            max_size=4,
        )
    },
    optional={"tools": tools, "temperature": numbers},
)
anthropics = st.fixed_dictionaries(
    {"messages": st.lists(said("text", "user", "assistant"), min_size=1, max_size=4)},
    optional={"system": some("text"), "max_tokens": st.just(5)},
)
responses = st.fixed_dictionaries(
    {
        "input": st.one_of(
            texts, st.lists(said("input_text", "user", "system"), min_size=1, max_size=3)
        )
    },
    optional={"instructions": texts},
)
requests = st.one_of(
    st.tuples(st.just("chat"), chats),
    st.tuples(st.just("messages"), anthropics),
    st.tuples(st.just("responses"), responses),
)


@pytest.fixture
async def people(
    database_url: str, engine: AsyncEngine, tmp_path: Path, now: datetime, rows: Rows
) -> AsyncIterator[Builder]:
    async with sidecar(database_url, tmp_path, judge()) as api:
        yield Builder(api, engine, tmp_path, now, rows)


async def said_of(people: Builder, asked: list[tuple[str, dict[str, Any]]]) -> dict[str, bytes]:
    """Store drafts and edit them; gives each call's line in the journal."""
    records = [
        draft_record(
            people.now,
            f"Draft {number}.",
            surface=surface,
            request={"model": "reply", **request},
        )
        for number, (surface, request) in enumerate(asked)
    ]
    calls = await drain_records(people.engine, people.folder, records)
    await people.edit(calls)
    lines = [encode_exactly(record.to_line()) for record in records]
    return dict(zip(calls, lines, strict=True))


async def exported(people: Builder, kind: str, form: str) -> list[tuple[str, bytes]]:
    """Export all that was said; gives each row's call and line."""
    made = await people.build(kind, redact=PLAIN, **EVERYTHING)
    path = f"/v1/datasets/{made['id']}/export"
    answer = await people.api.admin.get(path, params={"format": form})
    assert answer.status_code == 200, answer.text
    calls = [row[1] for row in await people.rows_of(made)]
    return list(zip(calls, answer.content.split(b"\n")[:-1], strict=True))


def prompt_in(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give what was asked, without the answer."""
    return list(line["prompt"] if "prompt" in line else line["messages"][:-1])


def pieces(message: Mapping[str, Any]) -> list[object]:
    """List what a message says: its content, and its parts' texts if it has parts."""
    content = message.get("content")
    if not isinstance(content, list):
        return [content]
    return [part.get("text", part) for part in content]


@given(asked=st.lists(requests, min_size=ROWS, max_size=ROWS))
@settings(
    max_examples=3,
    deadline=None,
    database=None,
    suppress_health_check=[*HealthCheck],
)
async def test_every_exported_messages_content_is_in_the_journal_byte_for_byte(
    people: Builder, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    journal = await said_of(people, asked)
    for kind, form in (("dpo", "trl-dpo"), ("sft", "openai-sft"), ("kto", "trl-kto")):
        found = [each for each in await exported(people, kind, form) if each[0] in journal]
        assert len({call_id for call_id, _ in found}) >= ROWS * 0.8, (kind, len(found))
        for call_id, line in found:
            for message in prompt_in(json.loads(line)):
                for piece in pieces(message):
                    written = encode_exactly(piece)
                    assert written in line
                    assert written in journal[call_id], (form, written[:200])
