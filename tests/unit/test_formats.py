import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.datasets import InsufficientData, Kind, Row, Split
from sidecar.core.errors import Conflict, Invalid
from sidecar.core.formats import (
    CHOOSY,
    Format,
    certain,
    check_rows,
    check_split,
    fitting,
    layout,
)
from sidecar.core.turns import Inexpressible
from tests.trained import as_json, row, with_prompt

TOOLS = as_json([{"type": "function", "function": {"name": "look_up"}}])
TALK = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": 'Two? "role":"developer"'},
]
ASKED = TALK[-1]["content"]
OLDER = [{"role": "system", "content": "Be brief."}, *TALK[1:]]
GOOD, BAD = {"role": "assistant", "content": "2"}, {"role": "assistant", "content": "3"}
SAID = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "One?"},
    {"from": "gpt", "value": "1"},
    {"from": "human", "value": ASKED},
]
HISTORY = {"system": "Be brief.", "history": [["One?", "1"]]}
CHAT = {"messages": [*TALK, GOOD]}
PREFERENCE = {
    "input": {"messages": TALK},
    "preferred_output": [GOOD],
    "non_preferred_output": [BAD],
}
INSTRUCTION = {"instruction": ASKED, "input": "", **HISTORY}

# What a row of each kind is in each format that can hold it, as its readers document it.
EXPECTED: dict[tuple[Format, Kind], dict[str, Any]] = {
    (Format.OPENAI_SFT, Kind.SFT): CHAT,
    (Format.OPENAI_DPO, Kind.DPO): PREFERENCE,
    (Format.AZURE, Kind.SFT): CHAT,
    (Format.AZURE, Kind.DPO): PREFERENCE,
    (Format.TOGETHER, Kind.SFT): {"messages": [*OLDER, GOOD]},
    (Format.TOGETHER, Kind.DPO): {**PREFERENCE, "input": {"messages": OLDER}},
    (Format.FIREWORKS, Kind.SFT): {"messages": [*OLDER, GOOD]},
    (Format.FIREWORKS, Kind.DPO): {**PREFERENCE, "input": {"messages": OLDER}},
    (Format.TRL_SFT, Kind.SFT): CHAT,
    (Format.TRL_DPO, Kind.DPO): {"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]},
    (Format.TRL_KTO, Kind.KTO): {"prompt": TALK, "completion": [GOOD], "label": False},
    (Format.ALPACA, Kind.SFT): {**INSTRUCTION, "output": "2"},
    (Format.ALPACA, Kind.DPO): {**INSTRUCTION, "chosen": "2", "rejected": "3"},
    (Format.ALPACA, Kind.KTO): {**INSTRUCTION, "output": "2", "kto_tag": False},
    (Format.SHAREGPT, Kind.SFT): {"conversations": [*SAID, {"from": "gpt", "value": "2"}]},
    (Format.SHAREGPT, Kind.DPO): {
        "conversations": SAID,
        "chosen": {"from": "gpt", "value": "2"},
        "rejected": {"from": "gpt", "value": "3"},
    },
    (Format.SHAREGPT, Kind.KTO): {
        "conversations": [*SAID, {"from": "gpt", "value": "2"}],
        "kto_tag": False,
    },
    (Format.PARQUET, Kind.SFT): {"prompt": TALK, "completion": [GOOD]},
    (Format.PARQUET, Kind.DPO): {"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]},
    (Format.PARQUET, Kind.KTO): {"prompt": TALK, "completion": [GOOD], "label": False},
}
TEXTS_OF_TOOLS = {
    Format.TRL_SFT,
    Format.TRL_DPO,
    Format.TRL_KTO,
    Format.ALPACA,
    Format.SHAREGPT,
    Format.PARQUET,
}


def written(form: Format, kind: Kind, one: Row) -> bytes:
    return layout(form, kind)((one.prompt, one.tools, one.chosen, one.rejected, one.is_good))


def talk(kind: Kind, tools: bytes | None = None) -> Row:
    return Row(
        prompt=as_json(TALK),
        tools=tools,
        chosen=b'"2"',
        rejected=b'"3"' if kind is Kind.DPO else None,
        is_good=False if kind is Kind.KTO else None,
        label=None,
        split="train",
        call_id="call",
    )


@pytest.mark.parametrize(("form", "kind"), EXPECTED)
def test_a_row_is_written_as_its_reader_documents_it(form: Format, kind: Kind) -> None:
    line = written(form, kind, talk(kind))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == EXPECTED[form, kind]


@pytest.mark.parametrize(("form", "kind"), EXPECTED)
def test_tools_go_where_the_reader_looks(form: Format, kind: Kind) -> None:
    found = json.loads(written(form, kind, talk(kind, TOOLS)))
    holder = found["input"] if "input" in EXPECTED[form, kind] and kind is Kind.DPO else found
    holder = found if form is Format.ALPACA else holder
    expected = TOOLS.decode() if form in TEXTS_OF_TOOLS else json.loads(TOOLS)
    assert holder["tools"] == expected


def test_every_pair_of_format_and_kind_is_either_written_or_refused() -> None:
    for form in Format:
        for kind in Kind:
            if (form, kind) in EXPECTED:
                assert form in fitting(kind)
                continue
            with pytest.raises(Invalid, match=f"{form} takes .* this dataset is {kind}"):
                layout(form, kind)


CONTENTS = st.text(max_size=30)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "developer"])
PROMPTS = st.lists(
    st.fixed_dictionaries({"role": ROLES, "content": CONTENTS | st.none()}), min_size=1
)


@given(PROMPTS, CONTENTS, CONTENTS)
def test_a_prompts_bytes_are_in_the_line_and_the_line_is_json(
    messages: list[Any], chosen: str, rejected: str
) -> None:
    for kind in Kind:
        one = Row(
            prompt=as_json(messages),
            tools=None,
            chosen=as_json(chosen),
            rejected=as_json(rejected),
            is_good=True,
            label=None,
            split="train",
            call_id="call",
        )
        for form in certain(kind):
            line = written(form, kind, one)
            json.loads(line)
            if form not in (Format.TOGETHER, Format.FIREWORKS):
                assert one.prompt[1:-1] in line
            assert one.chosen in line


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([TALK[1], TALK[1]], "user and assistant must take turns"),
        ([TALK[0]], "found nothing"),
        ([TALK[1], TALK[2]], "the user be last"),
        ([TALK[0], TALK[0], TALK[1]], "take turns"),
        ([{"role": "user", "content": None}], "no text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "one text"),
        ([{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}], "2 parts"),
        ([{"role": "user", "content": "a", "name": "ann"}], "name besides"),
    ],
)
def test_a_prompt_that_is_more_than_turns_is_refused_and_not_quoted(
    messages: list[Any], why: str
) -> None:
    one = with_prompt(row(Kind.SFT, 1), messages)
    for form in (Format.ALPACA, Format.SHAREGPT):
        with pytest.raises(Inexpressible, match=why):
            written(form, Kind.SFT, one)


def test_a_part_that_stands_alone_is_its_text() -> None:
    one = with_prompt(row(Kind.SFT, 1), [{"role": "user", "content": [{"text": "Hi"}]}])
    assert json.loads(written(Format.ALPACA, Kind.SFT, one))["instruction"] == "Hi"


def test_half_a_surrogate_pair_stays_an_escape_and_no_table_takes_it() -> None:
    messages = b'[{"role":"user","content":"\\ud83d!"}]'
    one = Row(
        prompt=messages,
        tools=None,
        chosen=b'"a"',
        rejected=None,
        is_good=None,
        label=None,
        split="train",
        call_id="call",
    )
    for form in (Format.OPENAI_SFT, Format.ALPACA, Format.SHAREGPT):
        assert b"\\ud83d!" in written(form, Kind.SFT, one)
    with pytest.raises(Inexpressible, match="surrogate"):
        written(Format.PARQUET, Kind.SFT, one)


def test_the_holdout_is_refused_and_the_reason_given() -> None:
    with pytest.raises(Conflict, match="cannot be evaluated"):
        check_split(Split.HOLDOUT)
    check_split(Split.VALIDATION)


@pytest.mark.parametrize(
    ("form", "split", "least"),
    [
        (Format.OPENAI_SFT, Split.TRAIN, 10),
        (Format.OPENAI_DPO, Split.TRAIN, 10),
        (Format.AZURE, Split.TRAIN, 10),
        (Format.FIREWORKS, Split.TRAIN, 3),
        (Format.TRL_KTO, Split.TRAIN, 1),
        (Format.OPENAI_SFT, Split.VALIDATION, 1),
    ],
)
def test_a_provider_begins_with_so_many_rows(form: Format, split: Split, least: int) -> None:
    check_rows(form, split, least)
    with pytest.raises(InsufficientData, match=f"has {least - 1} rows; {form} needs {least} "):
        check_rows(form, split, least - 1)


def test_what_may_not_fit_is_known_to_be_so() -> None:
    assert {Format.ALPACA, Format.SHAREGPT, Format.PARQUET} == CHOOSY


TRL = [(Format.TRL_SFT, Kind.SFT), (Format.TRL_DPO, Kind.DPO), (Format.TRL_KTO, Kind.KTO)]


@pytest.mark.parametrize(("form", "kind"), TRL)
def test_trl_gets_one_part_of_text_as_that_text_and_nothing_else_changed(
    form: Format, kind: Kind
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/p.png"}}
    text = {"type": "text", "text": 'Caf\u00e9 \u2028 "content":[{"type":"text"}] \\'}
    kept = [
        {"role": "user", "content": [text, text]},
        {"role": "user", "content": [picture]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": text["text"]},
    ]
    asked = [{"role": "system", "content": [text], "name": "n"}, *kept]
    line = written(form, kind, with_prompt(row(kind, 1), asked))
    found = json.loads(line)
    prompt = found["prompt"] if "prompt" in found else found["messages"][:-1]
    assert prompt == [{"role": "system", "content": text["text"], "name": "n"}, *kept]
    assert as_json(text["text"]) in line
    assert as_json(kept)[1:-1] in line
