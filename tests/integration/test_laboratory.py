"""Does the laboratory, as a real process, answer the real `openai` client?"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from sidecar.up.laboratory.posts import SYSTEM_PROMPT, demo_posts
from tests.laboratories import (
    FINE_TUNE,
    STRANGE,
    SURFACES,
    Running,
    Surface,
    chat,
    chat_stream_text,
    chat_text,
    response_stream_text,
    response_text,
)


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
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1 > 100
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
    with pytest.raises(openai.NotFoundError, match=r"'nobody' does not exist.*lab-echo") as no:
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
