"""What is read of a request, and what is put on it and taken out of it."""

from typing import Any

import pytest

from callbacks.payload.request import (
    caller_of,
    deployment_id,
    excluded_of,
    isolate_cache,
    read_request,
    stamp,
    stamp_of,
    stamp_of_logged,
    stamped_headers,
    strip_controls,
    unit_of,
)
from sidecar.core.routing import UnitSource
from tests.payloads import Recorded, scenario

RUBBISH = [None, "text", 7, [], {}, {"signalops": None}, {"signalops": []}]
SURFACES = {"chat": "acompletion", "responses": "aresponses", "messages": "anthropic_messages"}
EVERY_SOURCE: dict[str, Any] = {
    "headers": {"x-signalops-unit": "h", "x-litellm-session-id": "s"},
    "metadata": {"unit_id": "m", "session_id": "s2"},
    "user": "u",
}


def request(
    headers: dict[str, str] | None = None, call_type: str = "acompletion", **body: Any
) -> Any:
    sent = {"body": {"model": "judge", **body}, "headers": headers or {}, "arrival_time": 1.0}
    return read_request({"model": "judge", "proxy_server_request": sent}, call_type)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_recorded_request_is_read_on_every_surface(surface: str, kind: str) -> None:
    found = scenario(surface, kind, "served")["asked"]
    asked = read_request(found["data"], found["call_type"])
    assert (asked.model, asked.surface, asked.stream) == ("faulty", surface, kind == "stream")
    unit = unit_of(asked, None, call_id="call")
    assert unit.id.startswith(f"{surface}, {kind}, served")
    assert unit.source is UnitSource.HEADER


SENT = {
    "chat": {"messages": [{"role": "user", "content": "Is our site down?"}]},
    "responses": {"input": "Is our site down?"},
    "messages": {
        "messages": [{"role": "user", "content": "Is our site down?"}],
        "max_tokens": 200,
    },
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_the_body_is_what_the_client_sent_and_not_what_litellm_added(
    surface: str, kind: str
) -> None:
    found = scenario(surface, kind, "served")["asked"]
    asked = read_request(found["data"], found["call_type"])
    sent = {"model": "faulty", **SENT[surface]}
    assert {k: v for k, v in asked.body.items() if k != "stream"} == sent
    assert asked.metadata == {}


def test_the_clients_own_metadata_is_kept_beside_what_litellm_added() -> None:
    data = scenario("chat", "whole", "served")["asked"]["data"]
    bucket = data["proxy_server_request"]["body"]["metadata"]
    bucket["requester_metadata"] |= {"unit_id": "m", "tags": ["a"]}
    asked = read_request(data, "acompletion")
    assert asked.body["metadata"] == asked.metadata == {"unit_id": "m", "tags": ["a"]}


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ((), ("h", UnitSource.HEADER)),
        (("x-signalops-unit",), ("m", UnitSource.METADATA)),
        (("x-signalops-unit", "unit_id"), ("u", UnitSource.USER)),
        (("x-signalops-unit", "unit_id", "user"), ("s", UnitSource.SESSION)),
        (
            ("x-signalops-unit", "unit_id", "user", "x-litellm-session-id"),
            ("s2", UnitSource.SESSION),
        ),
        (
            ("x-signalops-unit", "unit_id", "user", "x-litellm-session-id", "session_id"),
            ("call", UnitSource.CALL),
        ),
    ],
    ids=lambda value: f"without {len(value)}" if value and value[0].islower() else None,
)
def test_the_first_source_that_names_a_unit_wins(
    left_out: tuple[str, ...], expected: tuple[str, UnitSource]
) -> None:
    unit = unit_of(request(**_without(EVERY_SOURCE, left_out)), None, call_id="call")
    assert (unit.id, unit.source) == expected


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (UnitSource.HEADER, "h"),
        (UnitSource.METADATA, "m"),
        (UnitSource.USER, "u"),
        (UnitSource.SESSION, "s"),
        (UnitSource.CALL, "call"),
    ],
)
def test_an_experiment_may_allow_one_source_alone(only: UnitSource, expected: str) -> None:
    assert unit_of(request(**EVERY_SOURCE), only, call_id="call").id == expected
    assert unit_of(request(), only, call_id="call").source is UnitSource.CALL


@pytest.mark.parametrize("value", ["", None, [], {}, 1.5, ["u"]])
def test_what_is_no_name_is_passed_over(value: Any) -> None:
    asked = request(user=value, metadata={"unit_id": value, "session_id": "s"})
    assert unit_of(asked, None, call_id="call").source is UnitSource.SESSION


def test_a_number_is_a_name() -> None:
    assert unit_of(request(metadata={"unit_id": 42}), None, call_id="call").id == "42"


@pytest.mark.parametrize("sent", [None, {}, {"body": None, "headers": []}, {"body": "text"}])
def test_a_request_without_its_parts_is_read_as_far_as_it_goes(sent: Any) -> None:
    asked = read_request({"model": "judge", "proxy_server_request": sent}, "acompletion")
    assert (asked.model, dict(asked.body), dict(asked.headers)) == ("judge", {}, {})
    assert dict(asked.metadata) == {}


@pytest.mark.parametrize("bucket", RUBBISH, ids=repr)
@pytest.mark.parametrize("key", ["metadata", "litellm_metadata"])
def test_the_mark_is_found_again_whatever_stood_in_its_place(key: str, bucket: Any) -> None:
    data = {key: bucket}
    assert stamp_of(data) is None
    assert stamped_headers(data) == {}
    stamp(data, "call-1", {"x-signalops-arm": "canary"})
    assert stamp_of(data) == "call-1"
    assert stamped_headers(data) == {"x-signalops-arm": "canary"}
    assert stamp_of_logged({"litellm_params": {key: data[key]}}) == "call-1"


@pytest.mark.parametrize("kwargs", [{}, {"litellm_params": None}, {"litellm_params": "x"}])
def test_a_log_event_without_a_mark_is_of_no_call_of_ours(kwargs: Any) -> None:
    assert stamp_of_logged(kwargs) is None


@pytest.mark.parametrize("surface", SURFACES)
def test_the_mark_comes_back_in_the_log_event(surface: str) -> None:
    found = scenario(surface, "stream", "served")
    call_id = stamp_of(found["asked"]["data"])
    assert call_id is not None
    assert stamp_of(found["streamed"]["data"]) == call_id
    assert stamp_of_logged(found["logged"]["kwargs"]) == call_id


@pytest.mark.parametrize(
    "key",
    [
        "_excluded_deployment_ids",
        "_retry_skipped_deployment_ids",
        "specific_deployment",
        "mock_testing_fallbacks",
        "mock_timeout",
    ],
)
def test_what_only_a_router_may_say_is_taken_out(key: str) -> None:
    data = {"model": "judge", key: ["x"]}
    strip_controls(data, {"judge"})
    assert data == {"model": "judge"}


@pytest.mark.parametrize(
    ("asked", "stays"),
    [
        (["draft"], True),
        ([{"model": "draft", "temperature": 0}], True),
        (["draft", "judge-canary"], False),
        ([{"model": "judge-canary"}], False),
        ([{"judge": ["draft"]}], False),
        ("draft", True),
        (7, False),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "key", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"]
)
def test_fallbacks_lead_only_to_what_may_be_asked_for(
    key: str, asked: Any, stays: bool
) -> None:
    data = {key: asked}
    strip_controls(data, {"judge", "draft"})
    assert data == ({key: asked} if stays else {})


@pytest.mark.parametrize("cache", [None, "x", {"no-cache": True}])
def test_an_arms_cache_keeps_what_the_client_asked_of_it(cache: Any) -> None:
    data = {"cache": cache}
    isolate_cache(data, "e:canary")
    assert data["cache"]["namespace"] == "e:canary"
    assert data["cache"].get("no-cache") == (True if isinstance(cache, dict) else None)


def test_a_client_cannot_choose_the_namespace_of_an_arm() -> None:
    data = {"cache": {"namespace": "e:primary"}}
    isolate_cache(data, "e:canary")
    assert data["cache"]["namespace"] == "e:canary"


def test_deployments_and_exclusions_are_read_as_the_router_lists_them() -> None:
    assert deployment_id({"model_info": {"id": "a"}}) == "a"
    assert [deployment_id(d) for d in ({}, {"model_info": None}, {"model_info": {}})] == [
        ""
    ] * 3
    assert excluded_of({"_excluded_deployment_ids": ["a", 1]}) == {"a", "1"}
    assert excluded_of({"_excluded_deployment_ids": None}) == frozenset()


@pytest.mark.parametrize("metadata", RUBBISH, ids=repr)
def test_a_key_that_is_not_of_our_making_stands_for_nobody(metadata: Any) -> None:
    assert caller_of(Recorded({"$class": "UserAPIKeyAuth"})) == {}
    key = Recorded({"$class": "UserAPIKeyAuth"})
    key.metadata = metadata  # type: ignore[attr-defined]
    assert caller_of(key) == {}
    assert caller_of(metadata) == {}


def _without(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: _without(value, names) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in names
    }
