"""Arms, units and names, seen by a client."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.calls import POST, SURFACES, chat, ours
from tests.e2e.conftest import System

FINE_TUNED = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
def test_a_unit_keeps_its_arm_on_every_surface(
    system: System, surface: str, stream: bool
) -> None:
    explained = system.admin.get(
        "/v1/routes/explain", params={"group": "judge", "unit": "author-3"}
    ).json()
    seen = SURFACES[surface](system.client(), "judge", "author-3", stream=stream)
    assert seen.status == 200
    assert seen.headers["x-signalops-arm"] == explained["arm"]
    row = system.call(seen.call_id)
    assert (row["surface"], row["stream"], row["outcome"]) == (surface, stream, "served")
    assert row["served_deployment"] == f"judge-{explained['arm']}"
    assert (row["unit_id"], row["unit_source"]) == ("author-3", "header")
    assert row["answer"]["text"] == seen.text
    assert seen.ids == {row["response_id"]}
    assert row["prompt_tokens"] > 0
    assert (row["ttft_ms"] is not None) == stream


@pytest.mark.parametrize(
    ("request_more", "unit", "source"),
    [
        pytest.param(
            {
                "extra_headers": {"x-signalops-unit": "h", "x-litellm-session-id": "s"},
                "metadata": {"unit_id": "m"},
                "user": "u",
            },
            "h",
            "header",
            id="the header first",
        ),
        pytest.param(
            {"metadata": {"unit_id": "m"}, "user": "u"}, "m", "metadata", id="metadata"
        ),
        pytest.param(
            {"user": "u", "extra_headers": {"x-litellm-session-id": "s"}},
            "u",
            "user",
            id="user",
        ),
        pytest.param(
            {"extra_headers": {"x-litellm-session-id": "s"}}, "s", "session", id="session"
        ),
    ],
)
def test_the_unit_comes_from_the_first_place_that_names_one(
    system: System, request_more: dict[str, Any], unit: str, source: str
) -> None:
    row = system.call(_ask(system, **request_more)["x-signalops-call-id"])
    assert (row["unit_id"], row["unit_source"]) == (unit, source)


def test_a_call_without_a_unit_is_its_own(system: System) -> None:
    call_id = _ask(system)["x-signalops-call-id"]
    row = system.call(call_id)
    assert (row["unit_id"], row["unit_source"]) == (call_id, "call")


def test_a_unit_of_10_kb_is_hashed_and_not_stored_whole(system: System) -> None:
    unit = system.call(_ask(system, user="x" * 10_000)["x-signalops-call-id"])["unit_id"]
    assert unit.startswith("sha256:")
    assert len(unit) == 71


def test_a_group_with_one_arm_is_recorded_and_not_split(system: System) -> None:
    row = system.call(_ask(system, model="echo")["x-signalops-call-id"])
    assert (row["experiment_id"], row["assigned_arm"]) == (None, "primary")
    assert row["answer"]["text"] == POST


def test_embeddings_are_routed_and_recorded(system: System) -> None:
    raw = system.client().embeddings.with_raw_response.create(model="embed", input="a post")
    row = system.call(ours(raw.headers)["x-signalops-call-id"])
    assert (row["surface"], row["outcome"]) == ("embeddings", "served")
    assert row["request"]["input"] == "a post"


def test_a_direct_fine_tuned_id_is_served_and_priced_as_its_base(system: System) -> None:
    row = system.call(_ask(system, model=FINE_TUNED)["x-signalops-call-id"])
    assert row["outcome"] == "served"
    # LiteLLM's own map: 0.3 and 1.2 dollars a million tokens for this base.
    expected = row["prompt_tokens"] * 0.3e-6 + row["completion_tokens"] * 1.2e-6
    assert row["cost_usd"] == pytest.approx(expected)


def test_an_unknown_price_is_null_and_not_free(system: System) -> None:
    assert system.call(_ask(system)["x-signalops-call-id"])["cost_usd"] is None


@pytest.mark.parametrize("model", ["nobody", "judge-canary", "ft:gpt-4o-mini:unknown::1"])
def test_a_name_nobody_has_is_a_404_that_says_what_exists(system: System, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        _ask(system, model=model)
    assert "'judge'" in refused.value.message
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "forged",
    [
        {"_excluded_deployment_ids": ["judge-primary", "judge-canary"]},
        {"specific_deployment": True},
        {"fallbacks": ["judge-canary"]},
        {"metadata": {"signalops": {"call_id": "x"}, "previous_models": []}},
        {"mock_response": "forged"},
    ],
    ids=lambda forged: next(iter(forged)),
)
def test_what_a_client_may_not_decide_is_taken_out(
    system: System, forged: dict[str, Any]
) -> None:
    headers = _ask(system, user="author-3", extra_body=forged)
    row = system.call(headers["x-signalops-call-id"])
    assert row["outcome"] == "served"
    assert row["verdict_label"] is not None


@pytest.mark.parametrize("text", ["a\x00b", "é😀\u202e"])
def test_an_unusual_message_is_kept_exactly_in_the_request(system: System, text: str) -> None:
    row = system.call(ours(_post(system, text).headers)["x-signalops-call-id"])
    assert row["request"]["messages"][0]["content"] == text
    assert row["answer"]["text"] == text


def test_a_lone_surrogate_is_refused_clearly_before_it_is_a_call(system: System) -> None:
    answer = _post(system, "a\ud800b")
    assert answer.status_code == 400
    assert "surrogate" in answer.json()["error"]["message"]


def test_a_body_of_20_mb_is_served_and_recorded(system: System) -> None:
    text = "x" * 20_000_000
    seen = chat(system.client(), "echo", "big", stream=False, text=text)
    assert seen.status == 200
    stored = system.call(seen.call_id)["request"]["messages"][0]["content"]
    assert len(stored) == len(text)


def _ask(system: System, model: str = "judge", **more: Any) -> dict[str, str]:
    raw = system.client().chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": POST}], **more
    )
    return ours(raw.headers)


def _post(system: System, text: str) -> httpx.Response:
    """Send a message in bytes of our own making: the client would refuse some."""
    body = {"model": "echo", "messages": [{"role": "user", "content": text}]}
    return httpx.post(
        f"{system.running.proxy_url}/v1/chat/completions",
        content=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {system.key}", "Content-Type": "application/json"},
        timeout=30,
    )
