"""What OpenAI's own types say of exported lines."""

import json
from collections.abc import Iterable
from typing import Any, NotRequired

import pytest
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionMessageParam,
    ChatCompletionToolUnionParam,
)
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from sidecar.core.datasets import Kind
from sidecar.core.formats import Format, layout
from tests.trained import as_json, rows

TOOLS = as_json(
    [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
)
WHOLE = ConfigDict(extra="forbid")


@with_config(WHOLE)
class Chat(TypedDict):
    messages: list[ChatCompletionMessageParam]
    tools: NotRequired[list[ChatCompletionToolUnionParam]]


@with_config(WHOLE)
class Asked(TypedDict):
    messages: list[ChatCompletionMessageParam]
    tools: NotRequired[list[ChatCompletionToolUnionParam]]
    parallel_tool_calls: NotRequired[bool]


@with_config(WHOLE)
class Preference(TypedDict):
    input: Asked
    preferred_output: list[ChatCompletionAssistantMessageParam]
    non_preferred_output: list[ChatCompletionAssistantMessageParam]


FORMS = [
    (Format.OPENAI_SFT, Kind.SFT, Chat),
    (Format.AZURE, Kind.SFT, Chat),
    (Format.FIREWORKS, Kind.SFT, Chat),
    (Format.TOGETHER, Kind.SFT, Chat),
    (Format.OPENAI_DPO, Kind.DPO, Preference),
    (Format.AZURE, Kind.DPO, Preference),
    (Format.FIREWORKS, Kind.DPO, Preference),
    (Format.TOGETHER, Kind.DPO, Preference),
]


def lines(form: Format, kind: Kind, tools: bytes | None) -> Iterable[Any]:
    write = layout(form, kind)
    for one in rows(kind, 20):
        row = one.prompt, tools, one.chosen, one.rejected, one.is_good
        yield json.loads(write(row))


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize(("form", "kind", "shape"), FORMS)
def test_every_line_is_of_openais_types(
    form: Format, kind: Kind, shape: type, tools: bytes | None
) -> None:
    reader: TypeAdapter[Any] = TypeAdapter(shape)
    found = [reader.validate_python(line) for line in lines(form, kind, tools)]
    assert len(found) == 20


def test_the_types_refuse_what_is_of_another_kind() -> None:
    line = next(iter(lines(Format.OPENAI_DPO, Kind.DPO, None)))
    with pytest.raises(ValidationError):
        TypeAdapter(Chat).validate_python(line)
    line["preferred_output"][0]["role"] = "user"
    with pytest.raises(ValidationError):
        TypeAdapter(Preference).validate_python(line)
