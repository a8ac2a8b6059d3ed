"""A plan says all it means, and refuses what makes no sense."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import Invalid
from sidecar.core.plan import (
    Goal,
    Guard,
    Guardrail,
    Horizon,
    Kind,
    Objective,
    Plan,
    Step,
    plan_hash,
    to_document,
)
from sidecar.core.plan_reading import plan_from
from sidecar.core.routing import Task


def test_nothing_said_is_the_default_plan_of_a_judge() -> None:
    assert plan_from({}) == Plan()


def test_a_drafts_plan_asks_for_approval_and_needs_no_labels() -> None:
    plan = plan_from({"task": "draft", "slow_ms": 2000})

    assert plan.goal == Goal("approved")
    assert plan.labels == ()
    assert [guardrail.metric for guardrail in plan.guardrails] == ["bad_rate", "slow_share"]


def test_a_plan_that_names_what_is_slow_guards_the_slow_share() -> None:
    metrics = [guardrail.metric for guardrail in plan_from({"slow_ms": 2000}).guardrails]

    assert metrics == [Guard.BAD_RATE, Guard.SLOW_SHARE, Guard.DISAGREEMENTS]


def test_disagreements_are_not_counted_when_the_audit_prefers_the_uncertain() -> None:
    plan = plan_from({"audit": {"weighting": "uncertain"}})

    assert plan.guardrails == (Guardrail(Guard.BAD_RATE, 1.25),)


def test_a_full_plan_is_read_as_it_was_typed() -> None:
    plan = plan_from(
        {
            "goal": {
                "metric": "score",
                "kind": "float",
                "objective": "superiority",
                "mde": 0.5,
            },
            "guardrails": [{"metric": "cost"}, {"metric": "bad_rate", "max_ratio": 2}],
            "ramp": [{"share": 0.5, "min_units": 7, "min_time_s": 0}],
            "horizon": {"max_duration_s": None, "max_labelled": 500},
            "breaker": None,
            "holdback": {"share": 0, "hours": 0},
        }
    )

    assert plan.goal == Goal("score", Kind.FLOAT, Objective.SUPERIORITY, 0.5)
    assert plan.guardrails == (Guardrail(Guard.COST, 0.1), Guardrail(Guard.BAD_RATE, 2.0))
    assert plan.ramp == (Step(5_000, 7, 0.0),)
    assert plan.horizon == Horizon(None, 500)
    assert plan.breaker_failures is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "plan is []; expected an object", id="a list"),
        pytest.param({"margn": 1}, "plan has no 'margn'; it can have task", id="a typo"),
        pytest.param(
            {"goal": {"margin": 0}}, "margin is 0; expected a number above 0", id="no margin"
        ),
        pytest.param({"goal": {"margin": -0.03}}, "above 0", id="a negative margin"),
        pytest.param({"goal": {"margin": 3}}, "at most 0.5", id="a margin in percent"),
        pytest.param({"goal": {"margin": True}}, "is True; expected a number", id="a bool"),
        pytest.param({"goal": {"margin": "0.03"}}, "expected a number", id="a number as text"),
        pytest.param({"goal": {"margin": float("nan")}}, "is nan", id="not a number"),
        pytest.param(
            {"goal": {"metric": "helpful"}}, "which is unknown; it can be", id="unknown metric"
        ),
        pytest.param({"goal": {"metric": 7}}, "the name of a metric", id="a metric of 7"),
        pytest.param(
            {"goal": {"metric": "agreement", "kind": "float"}},
            "'boolean', which agreement is",
            id="agreement as a float",
        ),
        pytest.param({"goal": {"mde": 0.05}}, "does not belong to", id="mde of a margin"),
        pytest.param({"goal": {"objective": "superiority"}}, "mde is null", id="no mde"),
        pytest.param({"goal": {"objective": "best"}}, "one of 'non_inf", id="an objective"),
        pytest.param(
            {"task": "draft", "goal": {"metric": "agreement"}}, "task is draft", id="draft"
        ),
        pytest.param({"task": "other"}, "plan.goal is null", id="other tasks have no goal"),
        pytest.param(
            {"guardrails": [{"metric": "speed"}]}, "'bad_rate', 'slow_share'", id="guardrail"
        ),
        pytest.param({"guardrails": [{}]}, "metric is null", id="a guardrail of nothing"),
        pytest.param(
            {"guardrails": [{"metric": "bad_rate", "max_ratio": 0.9}]}, "at least 1", id="ratio"
        ),
        pytest.param(
            {"guardrails": [{"metric": "cost", "max_ratio": 2}]}, "has 'margin'", id="cost"
        ),
        pytest.param(
            {"guardrails": [{"metric": "cost"}, {"metric": "cost"}]}, "each metric", id="twice"
        ),
        pytest.param({"guardrails": [{"metric": "slow_share"}]}, "slow_ms is null", id="slow"),
        pytest.param(
            {
                "audit": {"weighting": "uncertain"},
                "guardrails": [{"metric": "disagreements"}],
            },
            "needs a judge and a uniform audit",
            id="disagreements of a selected sample",
        ),
        pytest.param({"labels": []}, "at least 1 label", id="no label"),
        pytest.param({"labels": ["a", "A"]}, "different", id="labels that are one"),
        pytest.param({"labels": ["a", 2]}, "each a word", id="a label of 2"),
        pytest.param({"labels": "ab"}, "expected a list", id="labels as a text"),
        pytest.param({"task": "draft", "labels": ["a", "b"]}, "no judge's", id="draft labels"),
        pytest.param({"canaries": ["primary"]}, "'primary' not among", id="primary canary"),
        pytest.param({"canaries": []}, "different names", id="no canary"),
        pytest.param({"canaries": ["a", "a"]}, "different names", id="a canary twice"),
        pytest.param(
            {"canaries": ["a", "b"], "mode": "auto"}, "expected 'advise'", id="two canaries"
        ),
        pytest.param(
            {"ramp": [{"share": 0.5}, {"share": 0.05}]}, "shares that rise", id="falling"
        ),
        pytest.param({"ramp": [{"share": 0.5}] * 2}, "shares that rise", id="repeating"),
        pytest.param({"ramp": []}, "at least one step", id="no ramp"),
        pytest.param({"ramp": [{"share": 0}]}, "above 0 and below 1", id="a share of 0"),
        pytest.param({"ramp": [{"share": 1}]}, "above 0 and below 1", id="a share of 1"),
        pytest.param({"ramp": [{}]}, "share is null", id="a step without a share"),
        pytest.param({"ramp": [{"share": 0.00015}]}, "a multiple of 0.0001", id="too fine"),
        pytest.param({"ramp": [{"share": 0.5, "min_units": 1.5}]}, "a whole", id="units"),
        pytest.param({"alpha": 0}, "alpha is 0", id="no alpha"),
        pytest.param({"guardrail_alpha": 0.7}, "at most 0.5", id="a large alpha"),
        pytest.param({"horizon_look": 1}, "true or false", id="a flag of 1"),
        pytest.param({"horizon": {"max_duration_s": 0}}, "above 0", id="a horizon of 0"),
        pytest.param({"horizon": {"max_labelled": 0}}, "at least 1", id="no labels at all"),
        pytest.param({"horizon": {"max_duration_s": None}}, "or both", id="no horizon"),
        pytest.param({"horizon": None}, "horizon is null", id="a horizon of null"),
        pytest.param(
            {"horizon": {"max_duration_s": 3600}}, "expected at least 86400", id="too short"
        ),
        pytest.param({"mode": "automatic"}, "'auto_rollback', 'auto'", id="a mode"),
        pytest.param({"audit": {"rate": 0}}, "rate is 0", id="no audit"),
        pytest.param({"audit": {"rate": 0.1, "floor": 0.2}}, "at most 0.1", id="a high floor"),
        pytest.param({"breaker": {"consecutive_failures": 0}}, "at least 1", id="breaker"),
        pytest.param({"holdback": {"share": 0.5}}, "at most 0.2", id="half held back"),
        pytest.param({"inconclusive_action": "flip"}, "'keep_primary'", id="a coin"),
        pytest.param({"grace_s": 0}, "grace_s is 0", id="no grace"),
        pytest.param({"unit": "person"}, "'header', 'metadata'", id="an unknown unit"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_found_and_what_is_possible(
    document: object, message: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        plan_from(document)

    assert message in str(refusal.value)


def test_a_refusal_shows_little_of_a_long_value() -> None:
    with pytest.raises(Invalid) as refusal:
        plan_from({"mode": "x" * 10_000})

    assert len(str(refusal.value)) < 300


def test_the_document_spells_out_every_default_and_is_plain_json() -> None:
    document = to_document(plan_from({}))

    assert document["ramp"] == [
        {"share": 0.01, "min_units": 50, "min_time_s": 1800.0},
        {"share": 0.05, "min_units": 100, "min_time_s": 1800.0},
        {"share": 0.25, "min_units": 200, "min_time_s": 1800.0},
        {"share": 0.5, "min_units": 200, "min_time_s": 1800.0},
    ]
    assert document["horizon"] == {"max_duration_s": 1209600.0, "max_labelled": None}
    assert json.loads(json.dumps(document)) == document


documents = st.fixed_dictionaries(
    {},
    optional={
        "goal": st.builds(lambda m: {"margin": m}, st.floats(0.001, 0.5)),
        "slow_ms": st.none() | st.floats(0.1, 1e6),
        "alpha": st.floats(0.001, 0.5),
        "ramp": st.lists(st.integers(1, 9_999), min_size=1, max_size=6, unique=True).map(
            lambda bps: [{"share": bp / 10_000} for bp in sorted(bps)]
        ),
        "mode": st.sampled_from(["advise", "auto_rollback", "auto"]),
        "audit": st.fixed_dictionaries(
            {"rate": st.floats(0.02, 1), "weighting": st.sampled_from(["uniform", "uncertain"])}
        ),
        "breaker": st.none() | st.just({"consecutive_failures": 3}),
        "task": st.sampled_from(list(Task)[:2]),
    },
)


@given(documents)
def test_a_plan_is_the_same_after_its_document_and_has_the_same_hash(
    document: dict[str, object],
) -> None:
    plan = plan_from(document)
    again = plan_from(json.loads(json.dumps(to_document(plan))))

    assert again == plan
    assert plan_hash(again) == plan_hash(plan)


def test_the_hash_knows_content_and_not_spelling() -> None:
    spelled = plan_hash(plan_from({"alpha": 0.05, "goal": {"margin": 0.03}}))

    assert spelled == plan_hash(plan_from({}))
    assert plan_hash(plan_from({"grace_s": 601})) != spelled


def test_the_hash_of_the_default_plan_is_frozen() -> None:
    # Stored beside decisions: another hash means another plan, so a default that changes
    # must be seen here.
    assert plan_hash(Plan()) == (
        "sha256:e5d94d852e4fa81cfdcd074bbe892ae319aa29a24c28a05d17dffd59c2491d91"
    )


@pytest.mark.parametrize(
    ("objective", "threshold"),
    [(Objective.NON_INFERIORITY, -0.03), (Objective.SUPERIORITY, 0.0)],
)
def test_the_threshold_is_minus_the_margin_or_zero(
    objective: Objective, threshold: float
) -> None:
    assert Goal(objective=objective).threshold == threshold
