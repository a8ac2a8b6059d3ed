"""Does the fast reader of calls give what the standard library gives, wherever both can?"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.calls import Answer, Attempt
from sidecar.core.contents import split
from sidecar.core.errors import Invalid
from sidecar.core.verdicts import Verdict, VerdictFailure, parse_verdict
from sidecar.service.call_lines import CallLine, Judged, judge, read_call, row_of
from sidecar.service.documents import encode_exactly
from sidecar.service.storable import storable_row
from sidecar.store.calls import COLUMNS, Row
from tests.bodies import bodies, leaves, texts, values
from tests.records import judge_record

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LINE = judge_record(NOW).to_line()
LABELS = judge_record(NOW).labels


def as_proxies_write(line: dict[str, Any]) -> bytes:
    """Write as the proxy does: by orjson, and by the standard library what that refuses."""
    try:
        return orjson.dumps(line)
    except orjson.JSONEncodeError:
        return json.dumps(line).encode()


def with_spaces(line: dict[str, Any]) -> bytes:
    return json.dumps(line, indent=1).encode()


def with_repeated_keys(line: dict[str, Any]) -> bytes:
    return b'{"request":{"a":[1]},"cost_usd":7,"metadata":{},' + encode_exactly(line)[1:]


def with_a_newer_field(line: dict[str, Any]) -> bytes:
    return as_proxies_write({"newer": line["request"], **line})


Written = Callable[[dict[str, Any]], bytes]
WRITERS: list[Written] = [
    as_proxies_write, with_spaces, with_repeated_keys, with_a_newer_field
]  # fmt: skip

verdicts = st.dictionaries(
    st.sampled_from(["label", "confidence", "reasoning", "more"]),
    st.sampled_from([*LABELS, " Maybe "]) | st.floats() | values,
).map(json.dumps)
answers = verdicts | verdicts.map("Well:\n```json\n{}\n```".format) | texts | st.none()


def slowly(line: bytes) -> tuple[Row, dict[bytes, bytes]]:
    """Make the row by the standard library alone."""
    document = json.loads(line)
    call = CallLine(**{name: document[name] for name in CallLine.__struct_fields__})
    stored = split(call.request, encode_exactly)
    row = row_of(call, NOW, stored, judged_slowly(call), encode_exactly)
    return storable_row(row), stored.parts


def judged_slowly(call: CallLine) -> Judged:
    said = call.answer["text"]
    found = VerdictFailure.INVALID_OUTPUT if said is None else parse_verdict(said, call.labels)
    if isinstance(found, Verdict):
        return found.label, found.confidence, found.reasoning, None
    return None, None, None, found


def quickly(line: bytes) -> tuple[Row, dict[bytes, bytes]]:
    """Make the row as the drain does."""
    call, exact = read_call(line)
    assert isinstance(call, CallLine)
    stored = split(call.request, exact)
    return storable_row(row_of(call, NOW, stored, judge(call), exact)), stored.parts


@given(bodies, answers, st.dictionaries(texts, values, max_size=3), st.sampled_from(WRITERS))
def test_both_readers_give_the_same_row_contents_and_verdict(
    request: dict[str, Any], answer: str | None, metadata: dict[str, Any], write: Written
) -> None:
    said = {"text": answer, "tool_calls": [], "refusal": None, "others": []}
    line = write({**LINE, "request": request, "answer": said, "metadata": metadata})
    assert quickly(line) == slowly(line)


@given(
    st.sampled_from(
        [
            "prompt_tokens",
            "cost_usd",
            "latency_ms",
            "unit_id",
            "ttft_ms",
            "status",
            "response_id",
        ]
    ),
    leaves,
    st.sampled_from(WRITERS),
)
def test_a_value_in_any_column_comes_out_the_same_by_both_readers(
    name: str, value: object, write: Written
) -> None:
    line = write({**LINE, name: value})
    assert quickly(line) == slowly(line)


def test_what_a_proxy_writes_every_day_needs_no_general_reader() -> None:
    record = replace(
        judge_record(NOW),
        attempts=(Attempt("judge-b", "Timeout", 408),),
        answer=Answer(text="{}", tool_calls=({"id": 1},), others=("x",)),
        cost_usd=0.00030999999999999995,
    )
    line = orjson.dumps(record.to_line())
    assert msgspec.json.decode(line, type=CallLine) == read_call(line)[0]


def test_numbers_in_a_request_are_kept_to_the_digit() -> None:
    request = {"seed": 2**70, "logit_bias": {"50256": -100}, "temperature": 1e-7, "top_p": 1.0}
    call, exact = read_call(json.dumps({**LINE, "request": request}).encode())
    assert isinstance(call, CallLine)
    assert split(call.request, exact).skeleton == (
        b'{"seed":1180591620717411303424,"logit_bias":{"50256":-100},'
        b'"temperature":1e-7,"top_p":1.0}'
    )


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("given", ["chatcmpl-1", "x" * 1_001, "a\x00b", None])
def test_an_answers_id_is_in_the_row_when_it_can_be_kept(
    write: Written, given: str | None
) -> None:
    row, _ = quickly(write({**LINE, "response_id": given}))
    assert dict(zip(COLUMNS, row, strict=True))["response_id"] == (
        given if given == "chatcmpl-1" else None
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"request": []}, id="a request that is a list"),
        pytest.param({"metadata": "x"}, id="metadata that is text"),
        pytest.param({"outcome": "splendid"}, id="an unknown outcome"),
        pytest.param({"answer": {"said": "x"}}, id="an answer of another form"),
    ],
)
def test_a_part_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_call(orjson.dumps({**LINE, **changes}))


@pytest.mark.parametrize("name", [name for name in LINE if name not in ("form", "kind")])
def test_a_line_without_a_field_is_no_call_but_for_the_moment_and_what_is_newer(
    name: str,
) -> None:
    line = orjson.dumps({key: value for key, value in LINE.items() if key != name})
    if name in ("started_at", "response_id"):
        assert isinstance(read_call(line)[0], CallLine)
    else:
        with pytest.raises(KeyError):
            read_call(line)
