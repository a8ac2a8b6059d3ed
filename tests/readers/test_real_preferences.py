"""Real pairs with three people's choices, there and back again.

Two arms draft an answer each, the annotators choose, the product learns; what it exports is
read by other people's code and compared with what the file says.
"""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from trl.data_utils import is_conversational

from tests.apis import Sidecar, sidecar
from tests.configurations import config, entry
from tests.drafts import draft_record, drain_records

PAIRS = Path(__file__).parents[3] / "shared/data/preferences/pairs.jsonl"
pytestmark = pytest.mark.skipif(not PAIRS.exists(), reason=f"no real pairs at {PAIRS}")

GROUP = "reply"
BATCH = 1_000
TIE = 0

Messages = TypeAdapter(list[ChatCompletionMessageParam])


@dataclass(frozen=True)
class Judged:
    """Two answers to a prompt, the calls that gave them, and what three people chose."""

    prompt: tuple[tuple[str, str], ...]
    texts: tuple[str, str]
    call_ids: tuple[str, str]
    choices: tuple[int, int, int]

    @property
    def refusal(self) -> str | None:
        """Why these two answers can be no pair."""
        one, other = (" ".join(text.split()) for text in self.texts)
        if not one or not other:
            return "empty"
        return "equal" if one == other else None

    def words(self) -> list[dict[str, Any]]:
        """Say it to the API."""
        return [self._word(person, choice) for person, choice in enumerate(self.choices)]

    def _word(self, person: int, choice: int) -> dict[str, Any]:
        one, other = self.call_ids if choice != 2 else self.call_ids[::-1]
        how = {"tie_with": other} if choice == TIE else {"over": other}
        return {"call_id": one, "reviewer": f"annotator-{person}", "source": "review", **how}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Sidecar]:
    two = config(
        entry(GROUP, "reply-a", weight=50, task="draft"),
        entry(GROUP, "reply-b", weight=50, arm="canary", task="draft"),
    )
    async with sidecar(database_url, tmp_path, two) as found:
        yield found


@pytest.fixture
async def judged(api: Sidecar, tmp_path: Path) -> list[Judged]:
    """Every pair as two drafts, with all that people said of them."""
    rows = [json.loads(line) for line in PAIRS.read_text().splitlines()]
    now = datetime.now(UTC)
    records = []
    for row in rows:
        request = {"model": GROUP, "messages": as_messages(prompt_of(row))}
        for arm, number in (("primary", 1), ("canary", 2)):
            more = {
                "assigned_arm": arm,
                "provider_model": f"model-{number}",
                "unit_id": str(row["pair_id"]),
            }
            records.append(draft_record(now, text_of(row, number), request=request, **more))
    call_ids = await drain_records(api.app.state.context.engine, tmp_path, records)
    found = [
        Judged(
            prompt_of(row),
            (text_of(row, 1), text_of(row, 2)),
            (call_ids[2 * place], call_ids[2 * place + 1]),
            tuple(row["annotators"]),
        )
        for place, row in enumerate(rows)
    ]
    words = [word for one in found for word in one.words()]
    for first in range(0, len(words), BATCH):
        body = {"items": words[first : first + BATCH]}
        answer = await api.admin.post("/v1/feedback", json=body)
        assert answer.raise_for_status().json()["refused"] == 0
    return found


def prompt_of(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (("system", row["instruction"]), ("user", row["input"] or "."))


def text_of(row: dict[str, Any], number: int) -> str:
    """Read an answer: of one row it is not a text but a JSON value."""
    found = row[f"response_{number}"]
    return found if isinstance(found, str) else json.dumps(found)


def as_messages(prompt: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in prompt]


Content = tuple[tuple[tuple[str, str], ...], str, str]
"""A prompt, the chosen text and the rejected one."""


def voters(judged: Sequence[Judged]) -> dict[Content, set[int]]:
    """Say who prefers what, straight from the file."""
    found: dict[Content, set[int]] = defaultdict(set)
    for one in judged:
        if one.refusal is not None:
            continue
        for person, choice in enumerate(one.choices):
            if choice != TIE:
                texts = one.texts if choice == 1 else one.texts[::-1]
                found[one.prompt, *texts].add(person)
    return found


async def test_pairs_ties_and_conflicts_are_what_the_file_holds(
    api: Sidecar, judged: list[Judged]
) -> None:
    answer = await api.admin.get("/v1/preferences/summary")
    found = answer.raise_for_status().json()
    pairs = voters(judged)
    opposite = [content for content in pairs if (content[0], content[2], content[1]) in pairs]
    said = Counter(choice for one in judged for choice in one.choices)
    assert found["pairs"] == {"choice": len(pairs)}
    assert found["ties"] == said[TIE]
    assert found["conflicts"] == len(opposite) // 2
    assert (found["superseded"], found["unpaired"]) == (0, 0)
    refused = Counter(
        one.refusal for one in judged if one.refusal for choice in one.choices if choice != TIE
    )
    assert found["refused"] == refused


async def test_people_agree_as_other_peoples_code_reckons(
    api: Sidecar, judged: list[Judged]
) -> None:
    answer = await api.admin.get("/v1/reviews/agreement", params={"of": "choices"})
    found = answer.raise_for_status().json()
    table = [list(one.choices) for one in judged]
    assert found["n"] == len(judged)
    assert found["fleiss"]["value"] == pytest.approx(fleiss_kappa(aggregate_raters(table)[0]))
    pairwise = {tuple(pair["reviewers"]): pair["kappa"]["value"] for pair in found["pairs"]}
    for one, other in combinations(range(3), 2):
        expected = cohen_kappa_score([row[one] for row in table], [row[other] for row in table])
        names = (f"annotator-{one}", f"annotator-{other}")
        assert pairwise[names] == pytest.approx(expected)


async def test_what_is_exported_is_what_most_people_chose(
    api: Sidecar, judged: list[Judged], tmp_path: Path
) -> None:
    body = {
        "kind": "dpo", "project_id": "default", "holdout": 0, "validation": 0,
        "redact": {"handles": False, "links": False, "mail": False, "phone": False},
    }  # fmt: skip
    made = (await api.admin.post("/v1/datasets", json=body)).raise_for_status().json()
    pairs = voters(judged)
    expected = {
        content
        for content, people in pairs.items()
        if len(people) > len(pairs.get((content[0], content[2], content[1]), ()))
    }
    lines = tmp_path / "trl.jsonl"
    lines.write_text(await exported(api, made["id"], "trl-dpo"))
    cache = str(tmp_path / "cache")
    trl = list(load_dataset("json", data_files=str(lines), cache_dir=cache, split="train"))
    assert all(is_conversational(row) for row in trl)
    openai = []
    for line in (await exported(api, made["id"], "openai-dpo")).split("\n")[:-1]:
        row = json.loads(line)
        # The SDK's own types say whether these are messages as OpenAI takes them.
        prompt = Messages.validate_python(row["input"]["messages"])
        chosen = Messages.validate_python(row["preferred_output"])
        rejected = Messages.validate_python(row["non_preferred_output"])
        openai.append({"prompt": list(prompt), "chosen": chosen, "rejected": rejected})
    assert len(trl) == len(openai) == len(expected)
    assert {content_of(row) for row in trl} == expected
    assert {content_of(row) for row in openai} == expected


async def exported(api: Sidecar, dataset_id: str, form: str) -> str:
    answer = await api.admin.get(f"/v1/datasets/{dataset_id}/export", params={"format": form})
    return answer.raise_for_status().text


def content_of(row: dict[str, Any]) -> Content:
    prompt = tuple((message["role"], message["content"]) for message in row["prompt"])
    [chosen], [rejected] = row["chosen"], row["rejected"]
    return prompt, chosen["content"], rejected["content"]
