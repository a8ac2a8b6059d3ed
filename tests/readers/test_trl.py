"""What `datasets` and TRL read from exported files, with their own functions."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, disable_progress_bars, load_dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template, is_conversational, unpair_preference_dataset

from sidecar.core.datasets import Kind, Row
from sidecar.core.formats import COLUMNS, Format, layout
from sidecar.integrations.parquet_process import convert
from tests.trained import as_json, rows

TOOLS = as_json([{"type": "function", "function": {"name": "look_up", "parameters": {}}}])
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FORMS = [(Format.TRL_SFT, Kind.SFT), (Format.TRL_DPO, Kind.DPO), (Format.TRL_KTO, Kind.KTO)]

disable_progress_bars()


def file(folder: Path, form: Format, kind: Kind, *, every_third_has_tools: bool = True) -> Path:
    """Write rows; some with tools, for a column of them must hold both."""
    write = layout(form, kind)
    path = folder / "lines.jsonl"
    tools = [TOOLS if i % 3 == 0 and every_third_has_tools else None for i in range(40)]
    found = zip(rows(kind, 40), tools, strict=True)
    path.write_bytes(
        b"".join(
            write((row.prompt, some, row.chosen, row.rejected, row.is_good))
            for row, some in found
        )
    )
    return path


def loaded(path: Path, folder: Path, reader: str = "json") -> Dataset:
    found = load_dataset(reader, data_files=str(path), cache_dir=str(folder / "cache"))
    return found["train"]


def assistant(text: bytes | None) -> list[dict[str, str]]:
    assert text is not None
    return [{"role": "assistant", "content": json.loads(text)}]


def expected(kind: Kind, row: Row, form: Format) -> dict[str, Any]:
    prompt = json.loads(row.prompt)
    if form is Format.TRL_SFT:
        return {"messages": prompt + assistant(row.chosen)}
    if kind is Kind.DPO:
        answers = {"chosen": assistant(row.chosen), "rejected": assistant(row.rejected)}
        return {"prompt": prompt, **answers}
    label = {} if kind is Kind.SFT else {"label": row.is_good}
    return {"prompt": prompt, "completion": assistant(row.chosen), **label}


@pytest.mark.parametrize(("form", "kind"), FORMS)
def test_trl_reads_the_rows_as_they_were(form: Format, kind: Kind, tmp_path: Path) -> None:
    found = loaded(file(tmp_path, form, kind), tmp_path)
    assert len(found) == 40
    for number, (row, line) in enumerate(zip(rows(kind, 40), found, strict=True)):
        assert is_conversational(line)
        tools = line.pop("tools")
        assert tools == (TOOLS.decode() if number % 3 == 0 else None)
        assert line == expected(kind, row, form)


@pytest.mark.parametrize(("form", "kind"), FORMS)
def test_trl_puts_the_rows_into_a_models_template(
    form: Format, kind: Kind, tmp_path: Path
) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    tokenizer.chat_template = TEMPLATE
    path = file(tmp_path, form, kind, every_third_has_tools=False)
    for row, line in zip(rows(kind, 40), loaded(path, tmp_path), strict=True):
        text = apply_chat_template(line, tokenizer)
        asked = json.loads(row.prompt)[-1]["content"]
        whole = text["text"] if form is Format.TRL_SFT else text["prompt"]
        assert f"<user>{asked}" in whole


def test_trl_makes_single_answers_of_our_pairs(tmp_path: Path) -> None:
    path = file(tmp_path, Format.TRL_DPO, Kind.DPO, every_third_has_tools=False)
    single = unpair_preference_dataset(loaded(path, tmp_path))
    assert len(single) == 80
    assert sum(single["label"]) == 40


@pytest.mark.parametrize("kind", Kind)
def test_a_table_is_read_as_it_was_written(kind: Kind, tmp_path: Path) -> None:
    lines, table = file(tmp_path, Format.PARQUET, kind), tmp_path / "table.parquet"
    convert(lines, table, dict(COLUMNS[kind]))
    found = loaded(table, tmp_path, "parquet")
    for number, (row, line) in enumerate(zip(rows(kind, 40), found, strict=True)):
        assert is_conversational(line)
        assert line.pop("tools") == (TOOLS.decode() if number % 3 == 0 else None)
        assert line == expected(kind, row, Format.PARQUET)


@pytest.mark.parametrize("form", [Format.ALPACA, Format.SHAREGPT])
@pytest.mark.parametrize("kind", Kind)
def test_other_trainers_files_have_one_schema(form: Format, kind: Kind, tmp_path: Path) -> None:
    found = loaded(file(tmp_path, form, kind), tmp_path)
    assert len(found) == 40
    for row, line in zip(rows(kind, 40), found, strict=True):
        said = json.loads(row.prompt)[-1]["content"]
        if form is Format.ALPACA:
            assert (line["instruction"], line["history"]) == (said, [])
        else:
            assert line["conversations"][1] == {"from": "human", "value": said}
