"""The findings of a look: the worked example of the specification, and its edges."""

from dataclasses import replace

import pytest

from sidecar.core.analysis import analyse, readings_of, units_by_stage
from sidecar.core.decision import decide
from sidecar.core.findings import Analysis, PerArm, Verdict
from sidecar.core.plan import Mode
from sidecar.core.plan_reading import plan_from
from sidecar.core.ramp import progress
from sidecar.core.readings import Standing, State
from sidecar.core.results import StageDesign
from tests.cells import NOON, RAMP, cell, designs, example_cells

PLAN = plan_from({"slow_ms": 2000, "mode": "auto"})


@pytest.fixture(scope="module")
def example() -> Analysis:
    return analyse(PLAN, RAMP, example_cells(), now=NOON)


def test_the_examples_goal_has_the_printed_digits(example: Analysis) -> None:
    goal = example.goals[0]

    assert goal.primary_unstratified == pytest.approx(0.8370, abs=5e-5)
    assert goal.canary_unstratified == pytest.approx(0.8730, abs=5e-5)
    assert goal.estimate == pytest.approx(0.03595, abs=5e-6)
    assert goal.se == pytest.approx(0.01736, abs=5e-6)
    assert goal.interval == pytest.approx((-0.02340, 0.09530), abs=5e-6)
    assert goal.interval_kind == "anytime_0.975"
    assert goal.p_anytime_vs_margin == pytest.approx(0.00894, abs=5e-6)
    assert goal.p_anytime_vs_zero == pytest.approx(0.4002, abs=5e-5)
    assert goal.gate.expected_minority == pytest.approx(100.9, abs=0.05)
    assert goal.gate.open
    assert goal.labelled == PerArm(2116, 677)
    assert goal.naive_pooled_difference == pytest.approx(0.03601, abs=5e-6)
    assert goal.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("place", "name", "estimate", "interval", "log_e"),
    [
        (0, "bad_rate", 1.0196, (0.6229, 1.6339), -3.2292),
        (1, "slow_share", 1.0270, (0.8133, 1.2906), -6.8787),
        (2, "disagreements", 0.7738, (0.5013, 1.1683), -5.2391),
    ],
)
def test_the_examples_guardrails_have_the_printed_digits(
    example: Analysis,
    place: int,
    name: str,
    estimate: float,
    interval: tuple[float, float],
    log_e: float,
) -> None:
    found = example.guardrails[place]

    assert found.name == name
    assert found.estimate == pytest.approx(estimate, abs=5e-5)
    assert found.interval == pytest.approx(interval, abs=5e-5)
    assert found.log_e == pytest.approx(log_e, abs=5e-5)
    assert found.threshold_log_e == pytest.approx(4.0943, abs=5e-5)
    assert found.verdict is Verdict.OK
    assert found.is_exact


def test_the_examples_split_and_label_shift_have_the_printed_digits(example: Analysis) -> None:
    srm, shift = example.validity.srm, example.label_shift[0]

    assert srm.log_e == pytest.approx(-8.4269, abs=5e-5)
    assert (srm.status, srm.p_anytime) == ("ok", 1.0)
    assert srm.threshold_log_e == pytest.approx(6.9078, abs=5e-5)
    assert srm.stages[2].units == {"primary": 7494, "canary": 2506}
    assert shift.log_e == pytest.approx(-3.3375, abs=5e-5)
    assert shift.verdict is Verdict.NO_CHANGE_DETECTED
    printed = {
        "relevant": (1.0044, 0.9139, 1.1028),
        "irrelevant": (0.9938, 0.9180, 1.0751),
        "maybe": (1.0032, 0.8668, 1.1587),
    }
    for name, (ratio, low, high) in printed.items():
        # The reference searched to 6 digits, and 0.993750 may be printed either way.
        assert shift.labels[name].estimate == pytest.approx(ratio, abs=6e-5)
        assert shift.labels[name].interval == pytest.approx((low, high), abs=5e-5)


def test_the_example_is_promoted_with_the_printed_sentence(example: Analysis) -> None:
    units = units_by_stage(PLAN, RAMP, example_cells())
    where = progress(PLAN, RAMP, units, now=NOON)
    readings = readings_of(example, where, canary="canary", at=NOON, data_age_s=1.0)
    decision = decide(PLAN, readings, Standing())

    assert decision.state is State.PROMOTE
    assert decision.reasons == (
        "goal_non_inferior",
        "no_guardrail_breach",
        "srm_ok",
        "min_duration_met",
    )
    assert decision.text == (
        "Promote the canary. Agreement differs by +3.6 pp (anytime interval -2.3 to +9.5 pp, "
        "valid at every look); a loss of more than 3.0 pp is ruled out. No guardrail breached."
    )
    assert example.planning[0].labels_missing == 0


def test_nothing_measured_is_none_and_never_zero() -> None:
    found = analyse(PLAN, RAMP, {}, now=NOON)
    goal = found.goals[0]

    assert (goal.estimate, goal.se, goal.interval) == (None, None, None)
    assert (goal.primary_unstratified, goal.naive_pooled_difference) == (None, None)
    assert goal.verdict is Verdict.INSUFFICIENT_DATA
    assert (goal.gate.expected_minority, goal.gate.open) == (0.0, False)
    assert [g.estimate for g in found.guardrails] == [None, None, None]
    assert [g.interval for g in found.guardrails] == [None, None, None]
    assert found.label_shift[0].log_e is None
    assert found.validity.multi_arm_share is None
    assert found.validity.audit_return[0].returned == PerArm(None, None)
    assert found.planning[0].labels_missing is None


def test_no_stage_at_all_is_an_analysis_too() -> None:
    found = analyse(PLAN, [], {}, now=NOON)
    readings = readings_of(
        found, progress(PLAN, [], {}, now=NOON), canary="canary", at=NOON, data_age_s=None
    )

    assert found.guardrails[0].events == PerArm(None, None)
    assert decide(PLAN, readings, Standing()).state is State.KEEP_COLLECTING


def test_a_closed_gate_shows_itself_and_no_estimate() -> None:
    cells = {
        (1, "primary"): cell(5_000, audited=(500, 495)),
        (1, "canary"): cell(100, audited=(60, 60)),
    }
    goal = analyse(PLAN, designs(200), cells, now=NOON).goals[0]

    # min(500, 60) min(p, 1 - p) with p = 555 / 560
    assert goal.gate.expected_minority == pytest.approx(60 * 5 / 560)
    assert not goal.gate.open
    assert (goal.estimate, goal.interval, goal.p_anytime_vs_zero) == (None, None, None)
    assert goal.canary_unstratified == 1.0


@pytest.mark.parametrize(
    "lonely",
    [
        pytest.param(StageDesign(9, {"primary": 10_000}, NOON), id="no canary"),
        pytest.param(StageDesign(9, {"primary": 10_000, "canary": 0}, NOON), id="share 0"),
        pytest.param(StageDesign(9, {"primary": 0, "canary": 10_000}, NOON), id="all canary"),
        pytest.param(StageDesign(9, {}, NOON), id="no record of the stage"),
    ],
)
def test_a_stage_that_compares_nothing_changes_nothing(
    example: Analysis, lonely: StageDesign
) -> None:
    arms = [arm for arm, bp in lonely.share_bp.items() if bp]
    cells = example_cells() | {
        (9, arm): cell(900, bad=90, audited=(90, 20), labels={"maybe": 9}) for arm in arms
    }
    found = analyse(PLAN, [*RAMP, lonely], cells, now=NOON)

    assert found.goals == example.goals
    assert found.guardrails == example.guardrails
    assert found.label_shift == example.label_shift
    assert found.validity.srm.log_e == pytest.approx(example.validity.srm.log_e)


def test_several_canaries_are_compared_within_their_own_two_arms_and_share_alpha(
    example: Analysis,
) -> None:
    plan = replace(PLAN, canaries=("canary", "other"), mode=Mode.ADVISE)
    doubled = [
        replace(d, share_bp={k: bp * 5 // 6 for k, bp in d.share_bp.items()}) for d in RAMP
    ]
    three = [
        replace(d, share_bp={**d.share_bp, "other": 10_000 - sum(d.share_bp.values())})
        for d in doubled
    ]
    cells = example_cells()
    found = analyse(plan, three, cells, now=NOON)

    assert [goal.arm for goal in found.goals] == ["canary", "other"]
    # The designed shares of 5/6 leave canary : primary as it was.
    assert found.guardrails[0].log_e == pytest.approx(example.guardrails[0].log_e, abs=0.02)
    assert found.goals[0].estimate == pytest.approx(example.goals[0].estimate)
    assert found.goals[0].interval_kind == "anytime_0.9875"
    assert found.goals[0].interval[0] < example.goals[0].interval[0]
    assert found.guardrails[0].threshold_log_e == pytest.approx(4.7875, abs=1e-4)  # ln(6/.05)
    assert found.goals[1].verdict is Verdict.INSUFFICIENT_DATA


def test_labels_that_come_back_from_one_arm_only_leave_no_verdict() -> None:
    cells = {
        (1, "primary"): cell(5_000, audited=(500, 400), drawn=500),
        (1, "canary"): cell(5_000, audited=(250, 200), drawn=500),
    }
    found = analyse(PLAN, designs(5_000), cells, now=NOON)

    assert found.validity.audit_return[0].returned == PerArm(1.0, 0.5)
    assert not found.validity.audit_return[0].is_valid
    assert found.goals[0].verdict is Verdict.INVALID


def test_a_split_that_was_not_designed_is_a_mismatch() -> None:
    cells = {(1, "primary"): cell(20_000), (1, "canary"): cell(18_000)}

    assert analyse(PLAN, designs(5_000), cells, now=NOON).validity.srm.status == "mismatch"


@pytest.mark.parametrize("sticky", [0, 20])
def test_units_of_an_arm_that_had_no_share_are_certainty_that_json_can_hold(
    sticky: int,
) -> None:
    cells = {(1, "primary"): cell(20, sticky_calls=sticky), (1, "canary"): cell(1)}
    srm = analyse(PLAN, designs(0), cells, now=NOON).validity.srm

    assert (srm.status, srm.log_e, srm.p_anytime) == ("mismatch", 1e9, 0.0)


def test_units_that_come_back_do_not_count_as_new_evidence_of_a_bad_split() -> None:
    def log_e(stages: int, sticky_calls: int) -> float:
        cells = {
            (stage, arm): cell(units, sticky_calls=sticky_calls)
            for stage in range(1, stages + 1)
            for arm, units in (("primary", 1_050), ("canary", 950))
        }
        # The same units meet the same split again after each pause.
        return analyse(PLAN, designs(*[5_000] * stages), cells, now=NOON).validity.srm.log_e

    assert log_e(1, 1_000) == pytest.approx(log_e(1, 0))
    assert log_e(3, 0) == pytest.approx(3 * log_e(1, 0))
    assert log_e(3, 1_000) == pytest.approx(log_e(1, 0))
