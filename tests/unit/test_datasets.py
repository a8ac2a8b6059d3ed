"""What may be asked for, how a row is hashed, and what is told of a dataset."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tiktoken_ext import openai_public

from sidecar.core.datasets import (
    Hash,
    InsufficientData,
    Kind,
    MinScore,
    Redact,
    Row,
    Spec,
    Split,
    check,
    id_of,
    row_digest,
    to_document,
)
from sidecar.core.errors import Invalid
from sidecar.core.manifests import Facts, Tally, contents, refuse_too_little
from sidecar.service.tokens import PER_MESSAGE, PER_ROW, Tokens, load

SPEC = Spec(kind=Kind.SFT, project_id="default")
ROW = Row(
    prompt=b"[]",
    tools=None,
    chosen=b'"a"',
    rejected=None,
    is_good=None,
    label=None,
    split="train",
    call_id="c",
)
FACTS = Facts("relevant", None, "m", None, ("audit",), 1, ())
ROW_HASH = "f0adc09cf54dcdd16b367a0a921f851f055fddaa7ed2833e5924114dc43da5cf"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"validation": 1.0}, "validation is a share"),
        ({"holdout": -0.1}, "holdout is a share"),
        ({"holdout": float("nan")}, "holdout is a share"),
        ({"min_agreement": 0.5}, "min_agreement is a share above 0.5"),
        ({"min_agreement": 1.1}, "min_agreement is a share above 0.5"),
        ({"min_score": MinScore("s", float("inf"))}, "min_score must have a finite value"),
        ({"sources": ()}, "sources must name one or more of audit"),
        ({"sources": ("audits",)}, "found 'audits'"),
        ({"origins": ("edit",)}, "kind sft has none"),
        ({"kind": Kind.DPO, "origins": ("edits",)}, "found 'edits'"),
        ({"seed": "s" * 201}, "seed has 201 characters"),
        ({"min_rows": 0}, "min_rows must be 1 or more"),
        ({"as_of": -1}, "as_of must be 0 or more"),
        ({"usd_per_million_tokens": -1.0}, "must be 0 or more"),
        ({"redact": Redact(patterns={"A": "x"})}, "a pattern's name"),
        ({"redact": Redact(patterns={"a": "x" * 501})}, "has 501 characters"),
        ({"redact": Redact(patterns={f"p{n}": "x" for n in range(21)})}, "at most 20"),
        ({"since": NEW_YEAR, "until": NEW_YEAR}, "since must be before until"),
    ],
)
def test_what_can_never_be_is_refused_by_its_name(wrong: Mapping[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check(replace(SPEC, **wrong))


def test_what_may_be_asked_for_is_kept_with_every_default() -> None:
    spec = replace(SPEC, since=NEW_YEAR, redact=Redact(patterns={"a": "x"}))
    check(spec)
    document = to_document(spec)
    assert document.keys() == set(Spec.__slots__)
    assert document["since"] == "2026-01-01T00:00:00+00:00"
    assert document["redact"]["patterns"] == {"a": "x"}


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": b"[1]"},
        {"tools": b"[]"},
        {"chosen": b'"b"'},
        {"rejected": b'"a"'},
        {"is_good": False},
        {"is_good": True},
        {"label": ""},
        {"call_id": "d"},
        # The same bytes, divided otherwise.
        {"call_id": "c1:", "label": None},
        {"prompt": b"[]-3:", "chosen": b'"a"'},
    ],
)
def test_every_field_of_a_row_is_in_its_hash(other: Mapping[str, Any]) -> None:
    assert row_digest(replace(ROW, **other)) != row_digest(ROW)


def test_a_rows_hash_never_changes() -> None:
    # printf '1:c-2:[]-3:"a"--' | sha256sum
    assert row_digest(ROW).hex() == ROW_HASH


def test_a_datasets_hash_knows_the_order_and_the_splits_of_its_rows() -> None:
    one, other = row_digest(ROW), row_digest(replace(ROW, call_id="d"))
    found = {
        hash_of(("train", one), ("train", other)),
        hash_of(("train", other), ("train", one)),
        hash_of(("train", one), ("holdout", other)),
        hash_of(("train", one)),
        hash_of(),
    }
    assert len(found) == 5
    assert all(id_of(each) == f"ds-{each[:16]}" for each in found)


def hash_of(*rows: tuple[str, bytes]) -> str:
    whole = Hash()
    for split, digest in rows:
        whole.add(split, digest)
    return whole.hexdigest()


def tally(*rows: tuple[Facts, int]) -> Tally:
    found = Tally()
    for facts, tokens in rows:
        found.add(facts, tokens)
    return found


def test_a_manifest_counts_what_is_in_each_split() -> None:
    maybe = replace(FACTS, label="maybe", model=None, redactions=(("mail", 2),), reviewers=3)
    counted = tally((FACTS, 10), (FACTS, 20), (maybe, 40), (maybe, 5), (FACTS, 1_000))
    splits = [Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.HOLDOUT, None]
    found = contents(counted, splits, replace(SPEC, usd_per_million_tokens=3.0))
    assert found["rows"] == {"train": 3, "validation": 0, "holdout": 1}
    assert found["labels"]["train"] == {"maybe": 1, "relevant": 2}
    assert found["balance"] == 0.5
    assert found["models"] == {"m": 2, "person": 2}
    assert found["reviewers"] == {"1": 2, "3": 2}
    assert found["redactions"] == {"mail": 4}
    assert found["tokens"]["total"] == 75
    assert found["tokens"]["max"] == 40
    assert found["tokens"]["by_split"]["train"] == {"total": 70, "max": 40}
    assert found["cost_usd"] == pytest.approx(0.00021)


def test_a_cost_without_a_price_is_unknown() -> None:
    assert contents(tally((FACTS, 10)), [Split.TRAIN], SPEC)["cost_usd"] is None


def test_too_few_training_rows_are_refused_with_what_was_left_out() -> None:
    found = contents(tally((FACTS, 1), (FACTS, 1)), [Split.TRAIN, Split.HOLDOUT], SPEC)
    with pytest.raises(InsufficientData) as refused:
        refuse_too_little(found, SPEC, {"tie": 4})
    assert str(refused.value) == (
        "the dataset would have 1 training rows; 10 are needed "
        "(left out: tie 4; in validation and holdout: 1)"
    )


@pytest.mark.parametrize("facts", [FACTS, replace(FACTS, label=None, is_good=True)])
def test_rows_of_one_class_are_refused_unless_allowed(facts: Facts) -> None:
    found = contents(tally(*[(facts, 1)] * 12), [Split.TRAIN] * 12, SPEC)
    with pytest.raises(InsufficientData, match="of one class"):
        refuse_too_little(found, SPEC, {})
    refuse_too_little(found, replace(SPEC, allow_one_class=True), {})


def test_drafts_have_no_class() -> None:
    facts = replace(FACTS, label=None)
    found = contents(tally(*[(facts, 1)] * 12), [Split.TRAIN] * 12, SPEC)
    refuse_too_little(found, SPEC, {})
    assert found["balance"] is None


def test_tokens_are_those_of_the_encoding() -> None:
    encoding = load()
    assert encoding.name == "o200k_base"
    assert encoding.encode_ordinary("Hello world") == [13225, 2375]
    assert encoding.encode("<|endoftext|>", allowed_special="all") == [199999]


def test_the_tokens_of_a_row_are_those_of_its_messages() -> None:
    counts = Tokens(load())
    rows = [["Hello world", "Hello"], ["Hello world"], []]
    expected = [PER_ROW + 2 * PER_MESSAGE + 3, PER_ROW + PER_MESSAGE + 2, PER_ROW]
    assert counts.count_all(rows) == expected
    assert counts.count_all(rows) == expected  # now some are remembered


def test_the_encodings_pattern_is_tiktokens_own() -> None:
    source = inspect.getsource(openai_public.o200k_base)
    parts = re.findall(r'r"""(.+)"""', source)
    assert load()._pat_str == "|".join(parts)
