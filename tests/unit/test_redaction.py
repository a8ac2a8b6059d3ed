"""What of a configuration may leave the sidecar."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml

from sidecar.core.errors import Invalid
from sidecar.core.redaction import has_secret, plain, redacted


@pytest.mark.parametrize(
    "secret",
    [
        {"api_key": "sk-1"},
        {"api_key": 12345},
        {"aws_secret_access_key": "x"},
        {"aws_session_token": "x"},
        {"azure_ad_token": "x"},
        {"vertex_credentials": {"private": "x"}},
        {"extra_headers": {"Authorization": "Bearer x"}},
        {"extra_headers": {"x-api-key": "x"}},
        {"api_base": "https://user:pw@host/v1"},
        {"client_secret": "x"},
        {"password": ["x"]},
    ],
)
def test_a_literal_secret_is_seen_and_taken_out(secret: dict[str, Any]) -> None:
    assert has_secret(secret)
    cleaned = redacted(secret)
    assert "pw" not in str(cleaned)
    assert "'x'" not in str(cleaned)
    assert "sk-1" not in str(cleaned)
    assert has_secret(cleaned), "read again, it must not pass for a key"
    assert redacted(cleaned) == cleaned


@pytest.mark.parametrize(
    "harmless",
    [
        {"api_key": "os.environ/OPENAI_API_KEY"},
        {"api_key": None},
        {"api_key": ""},
        {"max_tokens": 4096},
        {"max_tokens": "4096"},
        {"input_cost_per_token": 1e-6},
        {"tokenizer": "o200k"},
        {"api_base": "http://127.0.0.1:4010/v1"},
        {"use_api_key": False},
    ],
)
def test_what_is_no_secret_stays_as_it_is(harmless: dict[str, Any]) -> None:
    assert not has_secret(harmless)
    assert redacted(harmless) == harmless


def test_dates_become_text() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert plain({"a": date(2026, 1, 1), "b": moment}) == {
        "a": "2026-01-01",
        "b": "2026-01-01T00:00:00+00:00",
    }


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": float("nan")}, id="no number"),
        pytest.param({"a": "b\x00"}, id="a NUL"),
        pytest.param({"a\x00": "b"}, id="a NUL in a name"),
        pytest.param(["\ud800"], id="half of a surrogate pair"),
        pytest.param({"a": {1, 2}}, id="a set"),
        pytest.param({"a": b"bytes"}, id="bytes"),
        pytest.param(yaml.safe_load("a: &x [*x]"), id="an anchor within itself"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        plain(value)
