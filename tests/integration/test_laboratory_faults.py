"""Does the laboratory go wrong exactly as it was told to, and tell what came?"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sidecar.up.laboratory.posts import demo_posts
from tests.laboratories import (
    FINE_TUNE,
    SURFACES,
    Running,
    Surface,
    chat,
    chat_text,
)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("500", openai.InternalServerError),
        ("429", openai.RateLimitError),
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
    ],
)
def test_a_set_error_reaches_the_client(
    lab: Running, surface: Surface, kind: str, error: type[openai.APIStatusError]
) -> None:
    lab.set("lab-echo", error_rate=1, error_kind=kind, retry_after_s=7)
    with pytest.raises(error) as failed:
        surface(lab, "lab-echo", "hello")
    assert failed.value.response.headers.get("retry-after") == ("7" if kind == "429" else None)
    assert lab.counts("lab-echo") == {"requests": 1, f"fault_{kind}": 1}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_hanging_model_makes_an_impatient_client_give_up(
    lab: Running, surface: Surface
) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="timeout", hang_s=3600)
    with pytest.raises(openai.APITimeoutError):
        surface(lab.with_options(timeout=0.3), "lab-echo", "hello")


def test_a_patient_client_gets_a_504_after_the_hang(lab: Running) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="timeout", hang_s=0.05)
    with pytest.raises(openai.InternalServerError) as failed:
        chat(lab, "lab-echo", "hello")
    assert failed.value.status_code == 504


@pytest.mark.parametrize("surface", SURFACES)
def test_a_cut_connection_breaks_the_answer_off(lab: Running, surface: Surface) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="cut_stream")
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        surface(lab, "lab-echo", "one two three four")


def test_a_cut_stream_has_delivered_the_beginning_of_its_text(lab: Running) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="cut_stream")
    sent = "one two three four five six seven eight"
    came: list[str] = []
    with (
        chat(lab, "lab-echo", sent, stream=True) as stream,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        came.extend(chunk.choices[0].delta.content for chunk in stream)
    text = "".join(came)
    assert text
    assert sent.startswith(text)
    assert text != sent
    assert lab.counts("lab-echo") == {"requests": 1, "fault_cut_stream": 1}


def test_a_rate_is_met_and_a_rerun_fails_the_same_calls(lab: Running) -> None:
    def failures() -> list[int]:
        lab.controls.post("/lab/reset").raise_for_status()
        lab.set("lab-echo", error_rate=0.3, seed=5)
        failed = []
        for number in range(100):
            try:
                chat(lab, "lab-echo", str(number))
            except openai.InternalServerError:
                failed.append(number)
        return failed

    first = failures()
    assert 12 <= len(first) <= 48  # 4 standard deviations around 30
    assert failures() == first
    counts = lab.counts("lab-echo")
    assert (counts["requests"], counts["fault_500"]) == (100, len(first))


def test_the_order_of_concurrent_calls_does_not_change_who_fails(lab: Running) -> None:
    lab.set("lab-echo", error_rate=0.3)

    def fails(number: int) -> bool:
        try:
            chat(lab, "lab-echo", str(number))
        except openai.InternalServerError:
            return True
        return False

    in_turn = [fails(number) for number in range(60)]
    lab.controls.post("/lab/reset").raise_for_status()
    lab.set("lab-echo", error_rate=0.3)
    with ThreadPoolExecutor(6) as pool:
        backwards = list(pool.map(fails, reversed(range(60))))
    assert backwards[::-1] == in_turn


def test_malformed_answers_come_as_often_as_set_and_are_counted(lab: Running) -> None:
    lab.set("lab-judge-tuned", malformed_rate=1, latency_ms={"median": 0})
    for post in demo_posts()[:20]:
        text = chat_text(lab, "lab-judge-tuned", post.post_text)
        try:
            verdict = json.loads(text)
        except json.JSONDecodeError:
            continue
        known = verdict["label"] in {"relevant", "irrelevant", "maybe"}
        assert not known or not 0 <= verdict["confidence"] <= 1
    assert lab.counts("lab-judge-tuned")["malformed"] == 20


def test_a_change_shows_and_a_reset_undoes_it(lab: Running) -> None:
    def settings() -> Any:
        shown = lab.controls.get("/lab/models").json()
        assert shown["ready"] is True
        return {model["name"]: model for model in shown["models"]}["lab-echo"]

    before = settings()
    lab.set("lab-echo", error_rate=0.25, error_kind=429)
    assert settings() == {**before, "error_rate": 0.25, "error_kind": "429"}
    lab.controls.post("/lab/reset").raise_for_status()
    assert settings() == before


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param(b'{"error_rate": 2}', "error_rate: ", id="rate"),
        pytest.param(b'{"colour": 1}', "colour: ", id="unknown setting"),
        pytest.param(b'{"name": "other"}', "cannot be changed", id="name"),
        pytest.param(b"[]", "must be a JSON object, found list", id="no object"),
        pytest.param(b"{", "must be a JSON object", id="no JSON"),
        pytest.param(
            b'{"judge": "classifier", "train_path": "/absent"}', "cannot be read", id="file"
        ),
    ],
)
def test_a_wrong_change_is_a_422_that_says_why_and_changes_nothing(
    lab: Running, body: bytes, complaint: str
) -> None:
    before = lab.controls.get("/lab/models").json()
    answer = lab.controls.patch("/lab/models/lab-echo", content=body)
    assert answer.status_code == 422
    assert complaint in answer.json()["detail"]
    assert lab.controls.get("/lab/models").json() == before


def test_a_change_to_an_unknown_model_is_a_404(lab: Running) -> None:
    answer = lab.controls.patch("/lab/models/nobody", json={})
    assert answer.status_code == 404
    assert "lab-echo" in answer.json()["detail"]


def test_a_judge_can_be_trained_on_another_file_while_it_runs(
    lab: Running, tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    rows = [("warm soup", "food"), ("fresh bread", "food"), ("fast car", "cars")] * 3
    path.write_text(
        "".join(json.dumps({"post_text": text, "label": label}) + "\n" for text, label in rows)
    )
    lab.set("lab-judge-tuned", train_path=str(path))
    assert json.loads(chat_text(lab, "lab-judge-tuned", "a car"))["label"] == "cars"
    assert json.loads(chat_text(lab, FINE_TUNE, "a car"))["label"] not in {"food", "cars"}


def test_the_last_requests_are_shown_as_they_came(lab: Running) -> None:
    chat(lab, "lab-echo", "first", user="u-1")
    chat(lab, "lab-echo", "second")
    lab.client.embeddings.create(model="lab-embed", input="third")
    (seen,) = lab.controls.get("/lab/requests?last=1&model=lab-echo").json()["last"]
    assert seen["path"] == "/v1/chat/completions"
    assert json.loads(seen["body"])["messages"][-1]["content"] == "second"
    everything = lab.controls.get("/lab/requests", params={"last": 9}).json()["last"]
    assert [one["model"] for one in everything] == ["lab-echo", "lab-echo", "lab-embed"]
    assert json.loads(everything[0]["body"])["user"] == "u-1"
    assert lab.controls.get("/lab/requests").json()["last"] == []


def test_requests_nobody_can_serve_are_counted_in_one_row(lab: Running) -> None:
    for model in ("a", "b"):
        with pytest.raises(openai.NotFoundError):
            chat(lab, model, "hello")
    assert lab.controls.post("/v1/responses", content=b"{").status_code == 400
    assert lab.counts("(unknown)") == {"requests": 3}


def test_a_client_that_leaves_a_stream_harms_nobody(lab: Running) -> None:
    lab.set("lab-echo", latency_ms={"median": 600_000})
    with chat(lab, "lab-echo", "one two three", stream=True) as stream:
        assert stream.response.status_code == 200
    lab.set("lab-echo", latency_ms={"median": 0})
    assert chat_text(lab, "lab-echo", "still here") == "still here"


def test_calls_that_hang_do_not_hold_up_others(lab: Running) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="timeout", hang_s=3600)
    hung = lab.with_options(timeout=4)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(chat, hung, "lab-echo", str(number)) for number in range(8)]
        while lab.counts("lab-echo").get("requests", 0) < len(waiting):
            assert not any(call.done() for call in waiting)
        lab.set("lab-echo", error_rate=0)
        assert chat_text(lab, "lab-echo", "hello") == "hello"
        assert not any(call.done() for call in waiting)
    assert {type(call.exception()) for call in waiting} == {openai.APITimeoutError}
