"""What the client sees and what the row says when a provider fails."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.calls import SURFACES, Seen, chat
from tests.e2e.conftest import System, wait_for

COOLED_S = 1.3  # the tests' cooldown_time is 1 s
CLASSES = {"500": "InternalServerError", "429": "RateLimitError", "timeout": "Timeout"}


@pytest.fixture(scope="module")
def canary_unit(system: System) -> str:
    """Find a unit whose arm in the group `faulty` is the canary."""
    for number in range(100):
        found = system.admin.get(
            "/v1/routes/explain", params={"group": "faulty", "unit": f"u{number}"}
        )
        if found.raise_for_status().json()["arm"] == "canary":
            return f"u{number}"
    pytest.fail("none of 100 units falls to a canary of 50 %")


def ask(system: System, surface: str, unit: str, *, stream: bool) -> Seen:
    return SURFACES[surface](system.client(), "faulty", unit, stream=stream)


@pytest.fixture
def broken_canary(system: System, request: pytest.FixtureRequest) -> Iterator[str]:
    kind = str(request.param)
    time.sleep(COOLED_S)  # what the last test broke has cooled down
    system.set_fault("bad", error_rate=1.0, error_kind=kind)
    yield kind
    system.set_fault("bad", error_rate=0.0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("broken_canary", ["500", "429", "timeout"], indirect=True)
def test_a_failing_canary_fails_over_to_the_primary(
    system: System, canary_unit: str, broken_canary: str, surface: str, stream: bool
) -> None:
    seen = ask(system, surface, canary_unit, stream=stream)
    assert seen.status == 200
    assert '"label"' in seen.text
    row = system.call(seen.call_id)
    assert (row["assigned_arm"], row["outcome"]) == ("canary", "failed_over")
    assert (row["served_deployment"], row["served_arm"]) == ("faulty-primary", "primary")
    tried = [(attempt["deployment"], attempt["error_class"]) for attempt in row["attempts"]]
    assert tried == [("faulty-canary", CLASSES[broken_canary])]
    assert row["verdict_label"] in {"relevant", "irrelevant", "maybe"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("broken_canary", ["400"], indirect=True)
def test_a_request_the_canary_refuses_is_the_clients_error_and_a_row(
    system: System, canary_unit: str, broken_canary: str, surface: str, stream: bool
) -> None:
    before = system.latest_call("faulty")
    seen = ask(system, surface, canary_unit, stream=stream)
    assert seen.status == 400
    # LiteLLM gives errors of the Messages API no headers of ours.
    wait_for("its row", lambda: system.latest_call("faulty") > before)
    row = system.call(system.latest_call("faulty"))
    assert (row["outcome"], row["status"]) == ("failed", 400)
    assert row["error_class"] == "BadRequestError"
    assert row["served_deployment"] is None
    assert row["verdict_failure"] == "provider_error"


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("broken_canary", ["cut_stream"], indirect=True)
def test_a_whole_answer_that_is_cut_off_fails_over(
    system: System, canary_unit: str, broken_canary: str, surface: str
) -> None:
    seen = ask(system, surface, canary_unit, stream=False)
    assert seen.status == 200
    assert system.call(seen.call_id)["outcome"] == "failed_over"


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("broken_canary", ["cut_stream"], indirect=True)
def test_a_stream_that_is_cut_off_is_recorded_as_the_client_saw_it(
    system: System, canary_unit: str, broken_canary: str, surface: str
) -> None:
    seen = ask(system, surface, canary_unit, stream=True)
    row = system.call(seen.call_id)
    # Which of the three depends on whether LiteLLM had read a piece when the cut came.
    expected = {None: "incomplete", 200: "failed_over"}.get(seen.status, "failed")
    assert (row["outcome"], row["status"]) == (expected, seen.status)
    assert row["assigned_arm"] == "canary"
    assert (row["answer"]["text"] or "").startswith(seen.text)


def test_a_cooling_canarys_calls_are_diverted(system: System, canary_unit: str) -> None:
    time.sleep(COOLED_S)
    system.set_fault("bad", error_rate=1.0, error_kind="429")
    try:
        outcomes = set()
        for _ in range(10):  # two workers, each with a cooldown of its own
            seen = chat(system.client(), "faulty", canary_unit, stream=False)
            assert seen.status == 200
            outcomes.add(system.call(seen.call_id)["outcome"])
    finally:
        system.set_fault("bad", error_rate=0.0)
    assert outcomes == {"failed_over", "diverted"}


def test_a_dead_primary_never_leads_to_a_canary_of_weight_0(system: System) -> None:
    before = system.requests_of("good")
    seen = [chat(system.client(), "dead", f"u{n}", stream=False) for n in range(60)]
    assert {answer.status for answer in seen} <= {429, 500}
    assert system.requests_of("good") == before
    rows = [system.call(answer.call_id) for answer in seen]
    assert {(row["assigned_arm"], row["outcome"]) for row in rows} == {("primary", "failed")}
