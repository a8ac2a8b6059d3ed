"""A call between its arrival and its record, on LiteLLM's dicts as the proxy hands them."""

import json
from pathlib import Path
from typing import Any

import pytest

from callbacks.access import Denial
from callbacks.payload.reply import Reply, Usage
from callbacks.traffic import Traffic
from callbacks.worker import Worker
from sidecar.core.assignment import ranges
from sidecar.core.routing import (
    Arm,
    Group,
    RoutingTable,
    Task,
    Unit,
    UnitSource,
    decide,
)
from sidecar.handoff.journal import read_chunk, segments

SHARES = {"primary": 5_000, "canary": 5_000}
ARMS = (Arm("primary", 5_000, ("p",)), Arm("canary", 5_000, ("c",)))
JUDGE = Group(
    "judge", Task.JUDGE, ARMS, ranges(SHARES), ("yes", "no"), experiment_id="e", salt="s"
)
SOLO = Group("solo", Task.OTHER, (Arm("primary", 10_000, ()),), ranges({"primary": 10_000}))
FREE = {"litellm_params": {"model": "x", "input_cost_per_token": 0}}
TABLE = RoutingTable(
    4, "h", {"judge": JUDGE, "solo": SOLO}, {"alias": "judge"}, {"p": {}, "c": FREE}, {}
)
DEPLOYMENTS = [{"model_info": {"id": "p"}}, {"model_info": {"id": "c"}}]
# Found by the rule itself: which unit it is does not matter.
UNITS = [Unit(f"u{number}", UnitSource.USER) for number in range(100)]
CANARY_UNIT = next(unit.id for unit in UNITS if decide(JUDGE, unit).arm == "canary")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    made = Worker(tmp_path)
    made.use(TABLE)
    return made


@pytest.fixture
def traffic(worker: Worker) -> Traffic:
    return Traffic(worker, has_cache=lambda: True)


def request(model: str = "judge", **body: Any) -> dict[str, Any]:
    sent = {"model": model, "messages": [], **body}
    return {**sent, "proxy_server_request": {"body": sent, "headers": {}, "arrival_time": 1.0}}


def recorded(tmp_path: Path) -> list[dict[str, Any]]:
    chunks = [read_chunk(s, start=0, max_bytes=1 << 20) for s in segments(tmp_path / "journal")]
    return [json.loads(line) for chunk in chunks for line in chunk.lines]


def take_off(traffic: Traffic, **body: Any) -> dict[str, Any]:
    return traffic.take_off(None, request(**body), "acompletion")


def test_a_call_is_marked_without_touching_what_came(traffic: Traffic) -> None:
    data = request(user="u", metadata={"unit_id": "m"})
    before = json.dumps(data)
    changed = traffic.take_off(None, data, "acompletion")
    assert json.dumps(data) == before
    assert changed["metadata"]["signalops"]["headers"]["x-signalops-generation"] == "4"
    assert changed["metadata"]["unit_id"] == "m"


@pytest.mark.parametrize(
    "metadata", [None, 7, [], "text", {"signalops": {"call_id": "forged"}}]
)
def test_whatever_metadata_a_client_sends_the_mark_is_ours(
    traffic: Traffic, metadata: object
) -> None:
    changed = take_off(traffic, metadata=metadata)
    assert traffic.flight(changed) is not None
    assert changed["metadata"]["signalops"]["call_id"] != "forged"


def test_control_keys_and_foreign_fallbacks_are_taken_out(traffic: Traffic) -> None:
    changed = take_off(
        traffic,
        specific_deployment=True,
        _excluded_deployment_ids=["p"],
        fallbacks=["c"],
        context_window_fallbacks=[{"model": "solo"}],
    )
    assert {"specific_deployment", "_excluded_deployment_ids", "fallbacks"} & set(
        changed
    ) == set()
    assert changed["context_window_fallbacks"] == [{"model": "solo"}]


def test_each_arm_has_a_cache_of_its_own(traffic: Traffic, worker: Worker) -> None:
    assert take_off(traffic, user=CANARY_UNIT)["cache"]["namespace"] == "e:canary"
    assert "cache" not in traffic.take_off(None, request("solo"), "acompletion")
    bare = Traffic(worker, has_cache=lambda: False)
    assert "cache" not in take_off(bare, user=CANARY_UNIT)


def test_a_try_is_offered_the_arm_and_then_the_primary(traffic: Traffic) -> None:
    data = take_off(traffic, user=CANARY_UNIT)
    assert traffic.choose("judge", DEPLOYMENTS, data) == [DEPLOYMENTS[1]]
    failed = {"deployment_id": "c", "exception_type": "Timeout", "attempted_retries": 0}
    data["metadata"]["previous_models"] = (failed,)
    assert traffic.choose("judge", DEPLOYMENTS, data) == [DEPLOYMENTS[0]]


def test_a_call_that_is_not_ours_is_not_filtered_away(traffic: Traffic) -> None:
    assert traffic.choose("elsewhere", DEPLOYMENTS, None) == DEPLOYMENTS
    assert traffic.choose("judge", DEPLOYMENTS, {"metadata": None}) == [DEPLOYMENTS[0]]


def test_a_call_is_recorded_once_whatever_hooks_fire(traffic: Traffic, tmp_path: Path) -> None:
    data = take_off(traffic, user=CANARY_UNIT)
    flight = traffic.flight(data)
    traffic.land(flight, data, lambda: Reply(deployment="c"))
    traffic.land(flight, data, Reply, broken=ValueError("late"))
    [line] = recorded(tmp_path)
    assert (line["outcome"], line["served_deployment"], line["status"]) == ("served", "c", 200)


def test_an_answer_whose_id_changes_last_is_recorded_with_the_id_the_client_gets(
    traffic: Traffic, tmp_path: Path
) -> None:
    data = traffic.take_off(None, request(), "aresponses")
    flight = traffic.flight(data)
    traffic.answered(flight, data, {"id": "provider's", "model": "m", "output": []})
    assert recorded(tmp_path) == []
    for seen in ("client's", "never"):
        traffic.sealed(flight, data, {"id": seen, "model": "what the client asked for"})
    [line] = recorded(tmp_path)
    assert (line["response_id"], line["provider_model"]) == ("client's", "m")


def test_a_call_that_fails_after_its_answer_is_recorded_as_failed(
    traffic: Traffic, tmp_path: Path
) -> None:
    data = traffic.take_off(None, request(), "aresponses")
    flight = traffic.flight(data)
    traffic.answered(flight, data, {"id": "provider's", "output": []})
    traffic.land(flight, data, Reply, broken=ValueError())
    traffic.sealed(flight, data, {"id": "client's"})
    [line] = recorded(tmp_path)
    assert (line["outcome"], line["response_id"]) == ("failed", None)


@pytest.mark.parametrize("surface", ["acompletion", "anthropic_messages", "aembedding"])
def test_every_other_answer_is_recorded_as_soon_as_it_is_there(
    traffic: Traffic, tmp_path: Path, surface: str
) -> None:
    data = traffic.take_off(None, request(), surface)
    traffic.answered(traffic.flight(data), data, {"id": "a", "choices": []})
    assert [line["response_id"] for line in recorded(tmp_path)] == ["a"]


def test_an_answer_that_is_still_to_come_is_not_recorded_with_its_headers(
    traffic: Traffic, tmp_path: Path
) -> None:
    data = traffic.take_off(None, request(stream=True), "aresponses")
    traffic.sealed(traffic.flight(data), data, {"id": "of the stream"})
    assert recorded(tmp_path) == []


@pytest.mark.parametrize(
    ("broken", "streaming", "began", "outcome", "status"),
    [
        (ValueError(), False, False, "failed", 500),
        (ValueError(), True, False, "failed", 500),
        (ValueError(), True, True, "incomplete", None),
        (GeneratorExit(), True, False, "incomplete", None),
    ],
)
def test_how_a_broken_call_is_recorded(
    traffic: Traffic,
    tmp_path: Path,
    broken: BaseException,
    streaming: bool,
    began: bool,
    outcome: str,
    status: int | None,
) -> None:
    data = take_off(traffic)
    flight = traffic.flight(data)
    assert flight is not None
    flight.first_chunk = flight.began if began else None
    traffic.land(flight, data, Reply, broken=broken, streaming=streaming)
    [line] = recorded(tmp_path)
    assert (line["outcome"], line["status"]) == (outcome, status)


@pytest.mark.parametrize(
    ("deployment", "cost", "stored"),
    [("p", 0.0, None), ("c", 0.0, 0.0), ("p", 0.25, 0.25), ("p", None, None)],
    ids=["no price is unknown", "a price of 0 is free", "a cost", "nothing said"],
)
def test_a_cost_of_0_counts_only_where_the_price_is_0(
    traffic: Traffic, tmp_path: Path, deployment: str, cost: float | None, stored: float | None
) -> None:
    data = take_off(traffic)
    reply = Reply(deployment=deployment, cost_usd=cost)
    traffic.land(traffic.flight(data), data, lambda: reply)
    [line] = recorded(tmp_path)
    assert line["cost_usd"] == stored


def test_an_enrichment_is_written_only_when_it_says_something_new(
    traffic: Traffic, tmp_path: Path
) -> None:
    data = take_off(traffic)
    call_id = data["metadata"]["signalops"]["call_id"]
    known = Reply(usage=Usage(5, 6, None))
    traffic.land(traffic.flight(data), data, lambda: known)
    traffic.enrich(call_id, known)
    assert [line["kind"] for line in recorded(tmp_path)] == ["call"]

    data = take_off(traffic)
    call_id = data["metadata"]["signalops"]["call_id"]
    traffic.land(traffic.flight(data), data, Reply)
    traffic.enrich(call_id, Reply(usage=Usage(5, 6, None), cost_usd=0.5))
    traffic.enrich(call_id, Reply(cost_usd=0.5))
    added = recorded(tmp_path)[-1]
    assert (added["kind"], added["cost_usd"], added["prompt_tokens"]) == ("enrichment", 0.5, 5)
    assert [line["kind"] for line in recorded(tmp_path)].count("enrichment") == 1


def test_a_model_nobody_has_is_refused_and_an_alias_is_its_group(traffic: Traffic) -> None:
    with pytest.raises(Denial, match="'judge'"):
        traffic.take_off(None, request("nobody"), "acompletion")
    flight = traffic.flight(traffic.take_off(None, request("alias"), "acompletion"))
    assert flight is not None
    assert (flight.group.name, flight.asked.model) == ("judge", "alias")
