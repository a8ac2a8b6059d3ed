"""Drafts, a reviewer who edits, rejects and approves, and what a trainer gets of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import System, wait_for
from tests.e2e.test_experiments import signalops

GROUP = "reply"
SYSTEM = "You answer posts about our product. Be brief; say “Grüezi” to the Swiss 🇨🇭."
POSTS = [
    f"Post {number}: my invoice shows {number}0 € twice, is the price per seat? “Hm” \\ 🤔\n"
    for number in range(24)
]
REVIEWER = "ann"


@dataclass(frozen=True)
class Draft:
    """What was asked, what came, and what a person made of it."""

    prompt: list[dict[str, str]]
    text: str
    call_id: str
    act: str
    better: str | None = None


@pytest.fixture(scope="module")
def project(system: System) -> dict[str, str]:
    """A project of its own, for its review queue holds nothing else."""
    body = {"project_id": "loop", "scopes": ["infer", "read", "review", "operate"]}
    made = system.admin.post("/v1/keys", json=body).raise_for_status().json()
    system.settle()
    return {"project": "loop", "key": made["key"]}


@pytest.fixture(scope="module")
def drafts(system: System, project: dict[str, str]) -> list[Draft]:
    """Two dozen drafts, each edited, rejected or approved by way of the queue."""
    client = system.client(project["key"])
    asked: dict[str, tuple[list[dict[str, str]], str]] = {}
    for number, post in enumerate(POSTS):
        prompt = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": post}]
        answer = client.chat.completions.with_raw_response.create(
            model=GROUP,
            messages=prompt,  # type: ignore[arg-type]
            user=f"author-{number}",
            temperature=0.3,
        )
        call_id = answer.headers["x-signalops-call-id"]
        asked[call_id] = (prompt, str(answer.parse().choices[0].message.content))
    for call_id in asked:
        system.call(call_id)
    done = [review(system, project["key"], number, asked) for number in range(len(POSTS))]
    assert {draft.call_id for draft in done} == set(asked)  # each was handed out, once
    return done


def review(
    system: System, key: str, number: int, asked: dict[str, tuple[list[dict[str, str]], str]]
) -> Draft:
    """Take the next item of the queue, and do one of four things to it."""
    headers = {"Authorization": f"Bearer {key}"}
    found = system.admin.get(
        "/v1/reviews/next", params={"reviewer": REVIEWER, "group": GROUP}, headers=headers
    )
    item = found.raise_for_status().json()["item"]
    prompt, text = asked[item["call_id"]]
    assert item["request"]["messages"] == prompt
    assert "lab-drafter" not in found.text  # who wrote it is nothing to the reviewer
    act = ("edit", "reject", "improve", "approve")[number % 4]
    better = f"{text} And thank you, “friend” {number} 🙏\nBye." if act != "approve" else None
    said: dict[str, Any] = {
        "edit": {"edit": better},
        "reject": {"approved": False, "comment": "too vague"},
        "improve": {"approved": False, "better": better},
        "approve": {"approved": True},
    }[act]
    body = {"call_id": item["call_id"], "reviewer": REVIEWER, **said}
    system.admin.post("/v1/reviews", json=body, headers=headers).raise_for_status()
    return Draft(prompt, text, item["call_id"], act, None if act == "reject" else better)


def export(system: System, folder: Path, kind: str, form: str) -> list[dict[str, Any]]:
    """Build a dataset of the project by the command, and read what it wrote."""
    path = folder / f"{kind}.jsonl"
    made = signalops(
        system, "dataset", "build", kind, "--project", "loop", "--holdout", "0",
        "--validation", "0",
    )  # fmt: skip
    signalops(
        system, "export", "training-data", "--type", kind, "--project", "loop",
        "--dataset", made["id"], "--format", form, "--output", str(path),
    )  # fmt: skip
    return [json.loads(line) for line in path.read_text().splitlines()]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def in_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_every_edit_and_better_text_is_a_pair_with_its_exact_prompt(
    system: System, drafts: list[Draft], tmp_path: Path
) -> None:
    expected = [
        {"prompt": one.prompt, "chosen": said(one.better), "rejected": said(one.text)}
        for one in drafts
        if one.better is not None
    ]
    assert len(expected) == 12
    assert in_order(export(system, tmp_path, "dpo", "trl-dpo")) == in_order(expected)


def test_what_was_approved_or_edited_is_what_a_model_is_taught(
    system: System, drafts: list[Draft], tmp_path: Path
) -> None:
    expected = [
        {"messages": [*one.prompt, *said(one.better if one.act == "edit" else one.text)]}
        for one in drafts
        if one.act in {"edit", "approve"}
    ]
    assert in_order(export(system, tmp_path, "sft", "openai-sft")) == in_order(expected)


def test_each_text_is_called_good_or_bad_as_it_was(
    system: System, drafts: list[Draft], tmp_path: Path
) -> None:
    expected = [
        {"prompt": one.prompt, "completion": said(text), "label": good}
        for one in drafts
        for text, good in ((one.text, one.act == "approve"), (one.better, True))
        if text is not None
    ]
    assert in_order(export(system, tmp_path, "kto", "trl-kto")) == in_order(expected)


def test_an_edit_by_the_answers_own_id_reaches_its_draft(
    system: System, drafts: list[Draft], project: dict[str, str]
) -> None:
    answer = system.client(project["key"]).chat.completions.create(
        model=GROUP, messages=[{"role": "user", "content": "Is there a discount for schools?"}]
    )
    headers = {"Authorization": f"Bearer {project['key']}"}
    body = {"response_id": answer.id, "edit": "There is: half the price.", "reviewer": "bob"}

    def given() -> dict[str, Any] | None:
        found = system.admin.post("/v1/feedback", json=body, headers=headers)
        return dict(found.json()) if found.status_code in {200, 201} else None

    word = wait_for("the draft's row", given)
    sent = {"call_id": word["call_id"], "name": "sent", "value": True, "reviewer": "bob"}
    system.admin.post("/v1/feedback", json=sent, headers=headers).raise_for_status()
    history = system.admin.get("/v1/feedback", params={"call_id": word["call_id"]}).json()
    assert history["draft"] == {"state": "sent", "final": "There is: half the price."}
