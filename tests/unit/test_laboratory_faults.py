"""Is an answer spoiled exactly as it was told to be?"""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sidecar.up.laboratory.dice import Dice
from sidecar.up.laboratory.faults import verdict
from sidecar.up.laboratory.judges import Opinion
from sidecar.up.laboratory.settings import MalformedKind, ModelBehaviour

CALM = Dice(
    latency=0.5,
    error=0.5,
    malformed=0.5,
    malformed_kind=0.5,
    fence=0.5,
    noise=0.5,
    noise_label=0.5,
    wording=0.5,
)


@dataclass(frozen=True)
class SureJudge:
    """A judge that always says the same."""

    labels: tuple[str, ...] = ("maybe", "no", "yes")

    def judge(self, text: str) -> Opinion:
        return Opinion("yes", 0.75, f"It has {len(text)} characters.")


def behaviour(**settings: Any) -> ModelBehaviour:
    return ModelBehaviour(name="m", judge="keyword", **settings)


def test_an_unspoiled_answer_is_the_json_that_was_asked_for() -> None:
    given = verdict(behaviour(), SureJudge(), "post", CALM)
    assert not given.malformed
    assert json.loads(given.text) == {
        "label": "yes",
        "confidence": 0.75,
        "reasoning": "It has 4 characters.",
    }


def test_a_fenced_answer_holds_the_same_json() -> None:
    plain = verdict(behaviour(), SureJudge(), "post", CALM)
    fenced = verdict(behaviour(fence_rate=0.6), SureJudge(), "post", CALM)
    assert fenced.text == f"```json\n{plain.text}\n```"
    assert not fenced.malformed


def test_noise_gives_another_label_of_the_set() -> None:
    noisy = behaviour(accuracy_noise=0.6)
    given = {
        json.loads(verdict(noisy, SureJudge(), "p", replace(CALM, noise_label=u)).text)["label"]
        for u in (0.0, 0.49, 0.51, 0.99)
    }
    assert given == {"maybe", "no"}


def test_noise_has_no_effect_on_a_judge_with_one_label() -> None:
    given = verdict(behaviour(accuracy_noise=1), SureJudge(labels=("yes",)), "p", CALM)
    assert json.loads(given.text)["label"] == "yes"


@pytest.mark.parametrize("wording", [0.0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("kind", ["prose", "truncated"])
def test_some_malformed_answers_are_no_json(kind: MalformedKind, wording: float) -> None:
    spoiled = behaviour(malformed_rate=1, malformed_kinds=(kind,))
    given = verdict(spoiled, SureJudge(), "p", replace(CALM, wording=wording))
    assert given.malformed
    assert given.text
    with pytest.raises(json.JSONDecodeError):
        json.loads(given.text)


@pytest.mark.parametrize("wording", [0.0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("labels", [("no", "yes"), ("yes", "unsure", "other", "n/a", "spam")])
def test_a_foreign_label_is_in_no_label_set(labels: tuple[str, ...], wording: float) -> None:
    spoiled = behaviour(malformed_rate=1, malformed_kinds=("foreign_label",))
    given = verdict(spoiled, SureJudge(labels), "p", replace(CALM, wording=wording))
    assert given.malformed
    assert json.loads(given.text)["label"] not in labels


@pytest.mark.parametrize("wording", [0.0, 0.999])
def test_a_confidence_can_be_out_of_range(wording: float) -> None:
    spoiled = behaviour(malformed_rate=1, malformed_kinds=("confidence_range",))
    given = verdict(spoiled, SureJudge(), "p", replace(CALM, wording=wording))
    assert given.malformed
    assert not 0 <= json.loads(given.text)["confidence"] <= 1


def test_the_kinds_of_malformed_answers_take_turns_by_the_dice() -> None:
    spoiled = behaviour(malformed_rate=1)
    texts = {
        verdict(spoiled, SureJudge(), "p", replace(CALM, malformed_kind=u)).text
        for u in (0.1, 0.3, 0.6, 0.9)
    }
    assert len(texts) == 4
