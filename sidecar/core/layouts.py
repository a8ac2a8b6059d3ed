"""How is one row of a dataset written for one trainer?

A row's columns are JSON already, so most layouts only put fixed bytes around them: nothing is
read, and the prompt arrives byte for byte; for TRL a content in parts is looked at. Alpaca,
ShareGPT and tables have another shape for a conversation; these read the prompt, and refuse
one that does not fit.
"""

import json
from collections.abc import Callable
from typing import Any

from sidecar.core.turns import Inexpressible, alone, plain_messages, turns

Fragments = tuple[bytes, bytes | None, bytes, Any, Any]
"""A row's prompt, tools, chosen, rejected and is_good, as `core.datasets.Row` has them: the
last two are there if the row's kind has them, and only then are they looked at."""

Print = Callable[[Fragments], bytes]
"""Gives a line with its end."""


def chat(row: Fragments) -> bytes:
    """Write messages of which the last is the answer, as OpenAI takes them."""
    prompt, tools, chosen, _, _ = row
    return b'{"messages":%b,%b]%b}\n' % (prompt[:-1], _assistant(chosen), _tools(tools))


def preference(row: Fragments) -> bytes:
    """Write an input with a preferred and another output, as OpenAI takes them."""
    prompt, tools, chosen, rejected, _ = row
    return (
        b'{"input":{"messages":%b%b},"preferred_output":[%b],"non_preferred_output":[%b]}\n'
    ) % (prompt, _tools(tools), _assistant(chosen), _assistant(rejected))


def without_developer(write: Print) -> Print:
    """Give developers' messages their older name, system, the only one that others know."""

    def print_row(row: Fragments) -> bytes:
        # Prompts are compact JSON, and within a text these quotes would be escaped.
        prompt = row[0].replace(b'"role":"developer"', b'"role":"system"')
        return write((prompt, *row[1:]))

    return print_row


def trl_sft(row: Fragments) -> bytes:
    """Write messages of which the last is the answer, as TRL takes them."""
    prompt, tools, chosen, _, _ = row
    return b'{"messages":%b,%b]%b}\n' % (
        _flat(prompt)[:-1],
        _assistant(chosen),
        _tools_as_text(tools),
    )


def trl_dpo(row: Fragments) -> bytes:
    """Write a prompt with a chosen and a rejected answer, each a list of messages."""
    prompt, tools, chosen, rejected, _ = row
    return b'{"prompt":%b,"chosen":[%b],"rejected":[%b]%b}\n' % (
        _flat(prompt),
        _assistant(chosen),
        _assistant(rejected),
        _tools_as_text(tools),
    )


def trl_kto(row: Fragments) -> bytes:
    """Write a prompt and an answer, each a list of messages, with whether it is good."""
    prompt, tools, completion, _, is_good = row
    return b'{"prompt":%b,"completion":[%b],"label":%b%b}\n' % (
        _flat(prompt),
        _assistant(completion),
        _bool(is_good),
        _tools_as_text(tools),
    )


def alpaca_sft(row: Fragments) -> bytes:
    """Write an instruction and its output.

    Raises:
        Inexpressible: See `core.turns`; so do all that follow.
    """
    return _alpaca(row, b'"output":%b' % row[2])


def alpaca_dpo(row: Fragments) -> bytes:
    """Write an instruction with a chosen and a rejected output."""
    return _alpaca(row, b'"chosen":%b,"rejected":%b' % (row[2], row[3]))


def alpaca_kto(row: Fragments) -> bytes:
    """Write an instruction and its output, with whether it is good."""
    return _alpaca(row, b'"output":%b,"kto_tag":%b' % (row[2], _bool(row[4])))


def sharegpt_sft(row: Fragments) -> bytes:
    """Write a conversation that ends with the answer."""
    return _sharegpt(row, b",%b]" % _gpt(row[2]))


def sharegpt_dpo(row: Fragments) -> bytes:
    """Write a conversation with a chosen and a rejected answer."""
    answers = _gpt(row[2]), _gpt(row[3])
    return _sharegpt(row, b'],"chosen":%b,"rejected":%b' % answers)


def sharegpt_kto(row: Fragments) -> bytes:
    """Write a conversation that ends with the answer, with whether it is good."""
    return _sharegpt(row, b',%b],"kto_tag":%b' % (_gpt(row[2]), _bool(row[4])))


def columns_sft(row: Fragments) -> bytes:
    """Write a table's row: prompt and completion, each a list of messages."""
    return _columns(row, b'"completion":[%b]' % _assistant(row[2]))


def columns_dpo(row: Fragments) -> bytes:
    """Write a table's row: prompt, chosen and rejected, each a list of messages."""
    return _columns(
        row, b'"chosen":[%b],"rejected":[%b]' % (_assistant(row[2]), _assistant(row[3]))
    )


def columns_kto(row: Fragments) -> bytes:
    """Write a table's row: prompt and completion, each a list of messages, and label."""
    return _columns(row, b'"completion":[%b],"label":%b' % (_assistant(row[2]), _bool(row[4])))


def to_json(value: object) -> bytes:
    """Write a value as compact JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(value, separators=(",", ":")).encode()


def _assistant(text: bytes) -> bytes:
    return b'{"role":"assistant","content":%b}' % text


def _gpt(text: bytes) -> bytes:
    return b'{"from":"gpt","value":%b}' % text


def _bool(value: object) -> bytes:
    return b"true" if value else b"false"


def _tools(tools: bytes | None) -> bytes:
    return b"" if tools is None else b',"tools":%b' % tools


def _tools_as_text(tools: bytes | None) -> bytes:
    # Schemas of many forms fit no column, so TRL and LLaMA-Factory read tools from a text.
    return b"" if tools is None else b',"tools":%b' % to_json(tools.decode())


def _flat(prompt: bytes) -> bytes:
    """Give a content that is one part of text as that text, as it is in a table.

    `load_dataset` wants one type of content in a file, and clients send both forms.
    """
    if b'"content":[' not in prompt:  # within a text these quotes would be escaped
        return prompt
    messages = json.loads(prompt)
    for message in messages:
        text = alone(message.get("content"))
        if text is not None:
            message["content"] = text
    return to_json(messages)


def _alpaca(row: Fragments, answer: bytes) -> bytes:
    found = turns(row[0])
    before = found.said[:-1]
    history = list(zip(before[::2], before[1::2], strict=True))
    head = to_json({"instruction": found.said[-1], "input": ""})
    tail = to_json({"system": found.system, "history": history})
    return b"%b,%b,%b%b}\n" % (head[:-1], answer, tail[1:-1], _tools_as_text(row[1]))


def _sharegpt(row: Fragments, rest: bytes) -> bytes:
    """Write a conversation without its closing bracket, and what follows."""
    found = turns(row[0])
    said = [{"from": "system", "value": found.system}] if found.system else []
    said += [
        {"from": "gpt" if place % 2 else "human", "value": text}
        for place, text in enumerate(found.said)
    ]
    conversation = to_json(said)[:-1]
    return b'{"conversations":%b%b%b}\n' % (conversation, rest, _tools_as_text(row[1]))


def _columns(row: Fragments, answers: bytes) -> bytes:
    prompt = [{"role": role, "content": text} for role, text in plain_messages(row[0])]
    line = b'{"prompt":%b,%b%b}\n' % (to_json(prompt), answers, _tools_as_text(row[1]))
    if b"\\ud" in line:  # only then can there be one
        _refuse_lone_surrogate(line)
    return line


def _refuse_lone_surrogate(line: bytes) -> None:
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        msg = "a text has half of a surrogate pair, which is no UTF-8"
        raise Inexpressible(msg) from error
