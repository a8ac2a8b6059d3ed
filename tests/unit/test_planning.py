"""Which deployments a person's words mean, when an experiment is asked for."""

from typing import Any

import pytest

from sidecar.core.errors import Invalid, NotFound
from sidecar.core.planning import Wish, arms_for, check_wish
from tests.configurations import FINE_TUNED, catalogue, config, entry, judge, version

HALF = {"primary": 0.5, "canary": 0.5}
FOUND = catalogue(
    config(
        *judge()["model_list"],
        entry("nameless", None),
        entry("tuned", "tuned-a", model="openai/ft:gpt-4.1-2025-04-14:acme::Z9"),
        router_settings={"model_group_alias": {"triage-old": "judge"}},
    ),
    version(is_active=True),
    version(number=2),
    version("idle", model_id="idle-7b"),
)


def wish(group: str | None = None, **more: Any) -> Wish:
    values = {"shares": HALF, "arms": {}, "unit": None, "hypothesis": None, **more}
    return Wish(group=group, project_id=values.pop("project_id", "default"), **values)


def test_without_arms_the_yamls_are_taken() -> None:
    group, arms = arms_for(FOUND, wish("judge"))
    assert (group, arms) == ("judge", {"primary": ("judge-a",), "canary": ("judge-b",)})


def test_a_group_may_be_named_by_its_alias() -> None:
    assert arms_for(FOUND, wish("triage-old"))[0] == "judge"


@pytest.mark.parametrize(
    ("primary", "canary", "expected"),
    [
        pytest.param(
            "judge-b", "spare-a", ("judge", ("judge-b",), ("spare-a",)), id="deployment ids"
        ),
        pytest.param("draft", "spare", ("draft", ("draft-a",), ("spare-a",)), id="models"),
        pytest.param(
            FINE_TUNED, "judge-b", (FINE_TUNED, (FINE_TUNED,), ("judge-b",)), id="a direct id"
        ),
        pytest.param(
            "ft:triage",
            "ft:triage@v2",
            ("ft:triage", ("ft:triage@v1",), ("ft:triage@v2",)),
            id="a registered name, and a version that is not active",
        ),
        pytest.param(
            "ft:gpt-4.1-2025-04-14:acme::Z9",
            "judge-a",
            ("ft:gpt-4.1-2025-04-14:acme::Z9", ("tuned-a",), ("judge-a",)),
            id="a fine-tuned model of the YAML, by its own id",
        ),
    ],
)
def test_without_a_group_it_is_the_primarys(
    primary: str, canary: str, expected: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> None:
    group, arms = arms_for(FOUND, wish(arms={"primary": [primary], "canary": [canary]}))
    assert (group, arms["primary"], arms["canary"]) == expected


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param(wish("judgge"), "there are 'judge', 'draft', 'spare'", id="no such group"),
        pytest.param(wish("draft"), "no arm 'canary', only 'primary'", id="a single arm"),
        pytest.param(wish(), "say which group", id="neither group nor arms"),
        pytest.param(
            wish("judge", arms={"canary": ["nope"]}),
            "no deployment or model 'nope'",
            id="unknown",
        ),
        pytest.param(
            wish("draft", arms={"canary": ["judge"]}), "name a deployment of it", id="two arms"
        ),
        pytest.param(
            wish("judge", arms={"canary": ["judge-a"]}), "must differ", id="the same twice"
        ),
        pytest.param(wish("nameless", arms={"canary": ["spare"]}), "model_info.id", id="no id"),
        pytest.param(
            wish(arms={"primary": ["ft:idle@v1"], "canary": ["spare"]}),
            "serves no group",
            id="a primary nobody asks for",
        ),
        pytest.param(wish("judge", arms={"canary": []}), "names no deployment", id="none"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(asked: Wish, says: str) -> None:
    with pytest.raises((Invalid, NotFound), match=says):
        arms_for(FOUND, check_wish(asked))


@pytest.mark.parametrize(
    "odd",
    [
        wish("judge", project_id="a b"),
        wish("judge", project_id=""),
        wish("judge", shares={"primary": 0.5, "can ary": 0.5}),
        wish("judge", arms={"other": ["spare"]}),
    ],
)
def test_names_that_are_none_are_refused(odd: Wish) -> None:
    with pytest.raises(Invalid):
        check_wish(odd)
