"""In which formats can a dataset leave, and which of them fits what it holds?

Sources: OpenAI's and Azure's guides to supervised fine-tuning and direct preference
optimization, Together's to conversational and preference data, Fireworks' to supervised and
DPO fine-tuning, TRL's to dataset formats, and the data README of LLaMA-Factory.
"""

from collections.abc import Mapping
from enum import StrEnum

from sidecar.core import layouts
from sidecar.core.datasets import InsufficientData, Kind, Split
from sidecar.core.errors import Conflict, Invalid
from sidecar.core.layouts import Print, without_developer


class Format(StrEnum):
    """What a trainer reads."""

    OPENAI_SFT = "openai-sft"
    OPENAI_DPO = "openai-dpo"
    AZURE = "azure"  # as OpenAI's
    TOGETHER = "together"
    FIREWORKS = "fireworks"
    TRL_SFT = "trl-sft"
    TRL_DPO = "trl-dpo"
    TRL_KTO = "trl-kto"
    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    PARQUET = "parquet"  # a table with TRL's columns


# Formats that cannot hold every prompt: a row has to be tried.
CHOOSY = frozenset({Format.ALPACA, Format.SHAREGPT, Format.PARQUET})

_LAYOUTS: Mapping[Format, Mapping[Kind, Print]] = {
    Format.OPENAI_SFT: {Kind.SFT: layouts.chat},
    Format.OPENAI_DPO: {Kind.DPO: layouts.preference},
    Format.AZURE: {Kind.SFT: layouts.chat, Kind.DPO: layouts.preference},
    Format.TOGETHER: {
        Kind.SFT: without_developer(layouts.chat),
        Kind.DPO: without_developer(layouts.preference),
    },
    Format.FIREWORKS: {
        Kind.SFT: without_developer(layouts.chat),
        Kind.DPO: without_developer(layouts.preference),
    },
    Format.TRL_SFT: {Kind.SFT: layouts.trl_sft},
    Format.TRL_DPO: {Kind.DPO: layouts.trl_dpo},
    Format.TRL_KTO: {Kind.KTO: layouts.trl_kto},
    Format.ALPACA: {
        Kind.SFT: layouts.alpaca_sft,
        Kind.DPO: layouts.alpaca_dpo,
        Kind.KTO: layouts.alpaca_kto,
    },
    Format.SHAREGPT: {
        Kind.SFT: layouts.sharegpt_sft,
        Kind.DPO: layouts.sharegpt_dpo,
        Kind.KTO: layouts.sharegpt_kto,
    },
    # The lines of which the table is made.
    Format.PARQUET: {
        Kind.SFT: layouts.columns_sft,
        Kind.DPO: layouts.columns_dpo,
        Kind.KTO: layouts.columns_kto,
    },
}

# A table's columns, with TRL's names, as `integrations.parquet` takes them.
COLUMNS: Mapping[Kind, Mapping[str, str]] = {
    Kind.SFT: {"prompt": "messages", "completion": "messages", "tools": "text"},
    Kind.DPO: {
        "prompt": "messages",
        "chosen": "messages",
        "rejected": "messages",
        "tools": "text",
    },
    Kind.KTO: {
        "prompt": "messages",
        "completion": "messages",
        "label": "bool",
        "tools": "text",
    },
}

# Training rows without which a provider does not begin.
_LEAST = {
    Format.OPENAI_SFT: 10,
    Format.OPENAI_DPO: 10,
    Format.AZURE: 10,
    Format.FIREWORKS: 3,
}


def layout(form: Format, kind: Kind) -> Print:
    """Find how a row is written.

    Raises:
        Invalid: The format cannot hold such rows; the message names those that can.
    """
    found = _LAYOUTS[form].get(kind)
    if found is None:
        takes = " and ".join(_LAYOUTS[form])
        possible = ", ".join(fitting(kind))
        msg = f"{form} takes {takes}, and this dataset is {kind}; it can be {possible}"
        raise Invalid(msg)
    return found


def fitting(kind: Kind) -> list[Format]:
    """List the formats that can hold a kind of rows.

    Example:
        >>> [str(form) for form in fitting(Kind.KTO)]
        ['trl-kto', 'alpaca', 'sharegpt', 'parquet']
    """
    return [form for form in Format if kind in _LAYOUTS[form]]


def certain(kind: Kind) -> list[Format]:
    """List the formats that can hold every row of a kind, whatever its prompt."""
    return [form for form in fitting(kind) if form not in CHOOSY]


def check_split(split: Split) -> None:
    """Refuse what no trainer may see.

    Raises:
        Conflict: The split is the holdout.
    """
    if split is Split.HOLDOUT:
        msg = (
            "the holdout is never exported: a model that has seen it cannot be evaluated on "
            "it; export train or validation"
        )
        raise Conflict(msg)


def check_rows(form: Format, split: Split, rows: int) -> None:
    """Refuse an export with which no trainer would begin.

    Args:
        rows: How many the split has.

    Raises:
        InsufficientData: There are none, or the provider wants more.
    """
    least = _LEAST.get(form, 1) if split is Split.TRAIN else 1
    if rows < least:
        msg = f"the split {split} has {rows} rows; {form} needs {least} or more"
        raise InsufficientData(msg)
