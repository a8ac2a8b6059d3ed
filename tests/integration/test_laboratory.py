"""Does the laboratory, as a real process, serve the real `openai` client?"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sidecar.up.laboratory.posts import SYSTEM_PROMPT, demo_posts

COMMAND = [sys.executable, "-m", "sidecar.up.laboratory"]
STRANGE = 'naïve 😀👩\u200d👩\u200d👧 "quoted" \x00 \u202eback\n  end '
FINE_TUNE = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"


@dataclass(frozen=True)
class Running:
    """A laboratory under test, with a client for each side of it."""

    client: openai.OpenAI
    controls: httpx.Client

    def set(self, model: str, **settings: Any) -> None:
        self.controls.patch(f"/lab/models/{model}", json=settings).raise_for_status()

    def counts(self, model: str) -> dict[str, int]:
        counts: dict[str, int] = self.controls.get("/lab/requests").json()["models"][model]
        return counts


@contextmanager
def laboratory(*arguments: str, key: str = "any", **environment: str) -> Iterator[Running]:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            base_url = f"http://127.0.0.1:{ready['port']}"
            assert ready == {
                "event": "laboratory.ready",
                "port": ready["port"],
                "url": f"{base_url}/v1",
            }
            with (
                openai.OpenAI(
                    base_url=ready["url"], api_key=key, max_retries=0, timeout=20
                ) as client,
                httpx.Client(base_url=base_url, timeout=20) as controls,
            ):
                yield Running(client, controls)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with laboratory() as one:
        yield one


@pytest.fixture
def lab(running: Running) -> Running:
    running.controls.post("/lab/reset").raise_for_status()
    return running


def chat(lab: Running, model: str, text: str, **options: Any) -> Any:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return lab.client.chat.completions.create(model=model, messages=messages, **options)  # type: ignore[call-overload]


def chat_text(lab: Running, model: str, text: str) -> str:
    content: str = chat(lab, model, text).choices[0].message.content
    return content


def chat_stream_text(lab: Running, model: str, text: str) -> str:
    with chat(lab, model, text, stream=True) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def response_text(lab: Running, model: str, text: str) -> str:
    return lab.client.responses.create(model=model, input=text).output_text


def response_stream_text(lab: Running, model: str, text: str) -> str:
    with lab.client.responses.create(model=model, input=text, stream=True) as stream:
        return "".join(e.delta for e in stream if e.type == "response.output_text.delta")


Surface = Callable[[Running, str, str], str]
SURFACES = [
    pytest.param(chat_text, id="chat"),
    pytest.param(chat_stream_text, id="chat stream"),
    pytest.param(response_text, id="response"),
    pytest.param(response_stream_text, id="response stream"),
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("text", [STRANGE, "", " \n", "long " * 50_000])
def test_an_echo_is_exact_on_every_surface(lab: Running, surface: Surface, text: str) -> None:
    assert surface(lab, "lab-echo", text) == text


def test_a_lone_surrogate_comes_back_as_the_escape_it_came_as(lab: Running) -> None:
    body = rb'{"model": "lab-echo", "messages": [{"role": "user", "content": "a\ud800b"}]}'
    answer = lab.controls.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200
    assert rb"a\ud800b" in answer.content


def test_a_body_of_twenty_megabytes_is_answered_and_not_kept(lab: Running) -> None:
    text = "x" * 20_000_000
    assert chat_text(lab, "lab-echo", text) == text
    (seen,) = lab.controls.get("/lab/requests", params={"last": 1}).json()["last"]
    assert seen["body"] is None
    assert seen["size_bytes"] > 20_000_000


@pytest.mark.parametrize("model", ["lab-judge-small", "lab-judge-tuned", FINE_TUNE])
def test_a_judge_answers_with_label_confidence_and_reasoning(lab: Running, model: str) -> None:
    if model == "lab-judge-small":
        lab.set(model, malformed_rate=0, fence_rate=0)
    verdict = json.loads(chat_text(lab, model, "Which uptime monitor do you use?"))
    assert verdict["label"] == "relevant"
    assert 0 < verdict["confidence"] <= 1
    assert verdict["reasoning"]


def test_all_surfaces_carry_the_same_verdict(lab: Running) -> None:
    text = demo_posts()[0].post_text
    lab.set("lab-judge-tuned", latency_ms={"median": 0})
    verdicts = {
        surface(lab, "lab-judge-tuned", text)
        for surface in (chat_text, chat_stream_text, response_text, response_stream_text)
    }
    assert len(verdicts) == 1


def test_the_tuned_judge_beats_the_small_one_through_the_client(lab: Running) -> None:
    def right(model: str) -> int:
        lab.set(model, latency_ms={"median": 0}, malformed_rate=0, fence_rate=0)

        def is_right(number: int) -> bool:
            post = demo_posts()[number]
            label: str = json.loads(chat_text(lab, model, post.post_text))["label"]
            return label == post.label

        with ThreadPoolExecutor(4) as pool:
            return sum(pool.map(is_right, range(100)))

    assert right("lab-judge-tuned") >= right("lab-judge-small") + 10


def test_the_answer_names_the_dated_model(lab: Running) -> None:
    assert chat(lab, "lab-drafter", "cert expired").model == "lab-drafter-2026-06-01"
    assert chat(lab, FINE_TUNE, "a").model == FINE_TUNE
    with chat(lab, "lab-drafter", "cert expired", stream=True) as stream:
        assert {chunk.model for chunk in stream} == {"lab-drafter-2026-06-01"}


def test_a_system_prompt_seen_before_counts_as_cached(lab: Running) -> None:
    def usage() -> Any:
        said: Any = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": "abcd"},
        ]
        return lab.client.chat.completions.create(model="lab-echo", messages=said).usage

    first, second = usage(), usage()
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1 > 200
    assert second.completion_tokens == 1
    assert second.total_tokens == second.prompt_tokens + 1


def test_a_chat_stream_ends_with_usage_when_asked_for(lab: Running) -> None:
    with chat(
        lab, "lab-echo", "abcd", stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage.completion_tokens == 1
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_a_response_stream_ends_with_the_whole_response(lab: Running) -> None:
    said = "one two"
    with lab.client.responses.create(model="lab-echo", input=said, stream=True) as stream:
        events = list(stream)
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == said
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == 4
    ids = {event.item_id for event in events if event.type == "response.output_text.delta"}
    assert ids == {last.response.output[0].id}


def test_embeddings_are_equal_in_both_encodings(lab: Running) -> None:
    texts = ["the site is down", STRANGE]
    # The client asks for base64 by itself, and decodes it.
    packed = lab.client.embeddings.create(model="lab-embed", input=texts, dimensions=64)
    plain = lab.client.embeddings.create(
        model="lab-embed", input=texts, dimensions=64, encoding_format="float"
    )
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(value * value for value in other.embedding) == pytest.approx(1)


def test_the_models_are_listed(lab: Running) -> None:
    listed = [model.id for model in lab.client.models.list()]
    assert {"lab-judge-small", "lab-judge-tuned", FINE_TUNE, "lab-echo"} <= set(listed)
    assert lab.client.models.retrieve(FINE_TUNE).id == FINE_TUNE
    with pytest.raises(openai.NotFoundError):
        lab.client.models.retrieve("nobody")


@pytest.mark.parametrize("surface", SURFACES)
def test_an_unknown_model_is_a_404_that_names_the_others(
    lab: Running, surface: Surface
) -> None:
    with pytest.raises(openai.NotFoundError, match="'nobody' does not exist.*lab-echo") as no:
        surface(lab, "nobody", "hello")
    assert no.value.code == "model_not_found"


def test_a_model_serves_either_chats_or_embeddings(lab: Running) -> None:
    with pytest.raises(openai.NotFoundError, match="does not serve this endpoint"):
        chat(lab, "lab-embed", "hello")
    with pytest.raises(openai.NotFoundError, match="does not serve this endpoint"):
        lab.client.embeddings.create(model="lab-echo", input="hello")


def test_an_unknown_url_is_answered_in_openais_format(lab: Running) -> None:
    answer = lab.controls.post("/v1/fine_tuning/jobs")
    assert answer.status_code == 404
    assert "POST /v1/fine_tuning/jobs" in answer.json()["error"]["message"]
    assert lab.controls.get("/v1/chat/completions").status_code == 405


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
    with (
        lab.client.with_options(timeout=0.3) as impatient,
        pytest.raises(openai.APITimeoutError),
    ):
        surface(Running(impatient, lab.controls), "lab-echo", "hello")


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


def test_a_cut_stream_has_delivered_some_of_its_text(lab: Running) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="cut_stream")
    sent, came = "one two three four five six seven eight", []
    with (
        chat(lab, "lab-echo", sent, stream=True) as stream,
        suppress(httpx.RemoteProtocolError),
    ):
        came = [chunk.choices[0].delta.content or "" for chunk in stream]
        pytest.fail(f"the stream ended well with {came}")
    with (
        lab.client.chat.completions.with_streaming_response.create(
            model="lab-echo", messages=[{"role": "user", "content": sent}], stream=True
        ) as raw,
        suppress(httpx.RemoteProtocolError),
    ):
        came.extend(raw.iter_lines())
    assert lab.counts("lab-echo")["fault_cut_stream"] == 2


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
    assert json.loads(chat_text(lab, FINE_TUNE, "a car"))["label"] == "irrelevant"


def test_the_last_requests_are_shown_as_they_came(lab: Running) -> None:
    chat(lab, "lab-echo", "first", user="u-1")
    chat(lab, "lab-echo", "second")
    lab.client.embeddings.create(model="lab-embed", input="third")
    query = {"last": 1, "model": "lab-echo"}
    (seen,) = lab.controls.get("/lab/requests", params=query).json()["last"]
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


def test_slow_calls_do_not_hold_up_others(lab: Running) -> None:
    lab.set("lab-echo", error_rate=1, error_kind="timeout", hang_s=3600)
    quick = threading.Event()

    def slow() -> None:
        with lab.client.with_options(timeout=10) as patient, suppress(openai.APITimeoutError):
            assert not chat(Running(patient, lab.controls), "lab-echo", "wait")

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(slow) for _ in range(20)]
        while lab.counts("lab-drafter").get("requests", 0) < 1:
            chat(lab, "lab-drafter", "hello")
        quick.set()
        assert not any(one.done() for one in waiting)


def test_models_come_from_a_file_and_only_the_set_key_is_taken(tmp_path: Path) -> None:
    models = tmp_path / "models.json"
    models.write_text('[{"name": "mine", "judge": "echo"}]')
    arguments = ("--models", str(models), "--api-key-env", "LAB_TEST_KEY")
    with laboratory(*arguments, key="right", LAB_TEST_KEY="right") as lab:
        assert [model.id for model in lab.client.models.list()] == ["mine"]
        assert chat_text(lab, "mine", "hello") == "hello"
        with lab.client.with_options(api_key="wrong") as stranger:
            with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
                stranger.models.list()
            with pytest.raises(openai.AuthenticationError):
                chat(Running(stranger, lab.controls), "mine", "hello")
        assert lab.controls.get("/v1/models").status_code == 401


def test_a_port_in_use_is_told_and_exits_with_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--models", "/absent.json"], "/absent.json", id="no models file"),
        pytest.param(["--api-key-env", "LAB_ABSENT_KEY"], "LAB_ABSENT_KEY", id="no key"),
        pytest.param(["--port", "99999"], "cannot listen", id="no such port"),
    ],
)
def test_a_start_that_cannot_succeed_says_why_and_exits_with_2(
    arguments: list[str], complaint: str
) -> None:
    ended = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_on_a_signal_also_while_a_call_hangs(sign: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            hang = {"error_rate": 1, "error_kind": "timeout", "hang_s": 3600}
            client.patch("/lab/models/lab-echo", json=hang).raise_for_status()
            body = {"model": "lab-echo", "messages": [{"role": "user", "content": "a"}]}
            with suppress(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=0.2)
            process.send_signal(sign)
            _, complaints = process.communicate(timeout=30)
    assert process.returncode in {0, -sign}
    assert "Traceback" not in complaints
