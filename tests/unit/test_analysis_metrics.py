"""The metrics of an analysis: clustered units, a proxy, costs, and feedback by name."""

import numpy as np
import pytest
from scipy.stats import binom

from sidecar.core.analysis import analyse
from sidecar.core.cells import Cell
from sidecar.core.findings import PerArm, Verdict
from sidecar.core.goal import goal_finding
from sidecar.core.pairing import Pairing
from sidecar.core.plan import Guard, Guardrail, Plan
from sidecar.core.plan_reading import plan_from
from tests.cells import NOON, cell, designs, weighted

PLAN = plan_from({"slow_ms": 2000})


def test_units_that_bring_several_calls_widen_the_interval() -> None:
    def cells(per_unit: int) -> dict[tuple[int, str], Cell]:
        def arm(agree: int) -> Cell:
            w = 10**7
            sums = weighted(1_000, agree, w)
            units = {name: sums[name] * per_unit for name in ("u_w2", "u_wy2", "u_wy_w")}
            units |= {"units": 10_000 // per_unit, "nn": 10_000 * per_unit}
            return Cell({**cell(10_000, audited=(1_000, agree)).totals, **units})

        return {(1, "primary"): arm(800), (1, "canary"): arm(820)}

    alone, four = (analyse(PLAN, designs(5_000), cells(n), now=NOON) for n in (1, 4))

    # Four calls that always agree with one another are worth one.
    assert four.goals[0].se == pytest.approx(2 * alone.goals[0].se, rel=2e-3)
    assert four.goals[0].estimate == alone.goals[0].estimate
    harm, crowded = alone.guardrails[2], four.guardrails[2]
    assert crowded.events == harm.events
    assert abs(crowded.log_e) < abs(harm.log_e)
    assert not crowded.is_exact


def test_a_proxy_that_knows_the_answer_multiplies_the_labels() -> None:
    def arm(agree: int) -> Cell:
        # Confidence 0.9 where the human agrees, and 0.1 where not; known for every call.
        w, n = 10**7, 1_000
        right, wrong = weighted(agree, agree, w, 9_000), weighted(n - agree, 0, w, 1_000)
        sums = {name: right[name] + wrong[name] for name in right}
        all_right = 10 * agree
        sums["audit_f"] = all_right * 9_000 + (10 * n - all_right) * 1_000
        sums["audit_ff"] = all_right * 9_000**2 + (10 * n - all_right) * 1_000**2
        return cell(10_000, audited=(n, agree), **sums)

    cells = {(1, "primary"): arm(800), (1, "canary"): arm(820)}
    goal = analyse(PLAN, designs(5_000), cells, now=NOON).goals[0]

    assert goal.estimate == pytest.approx(0.02)
    assert goal.variance_reduction is not None
    # Coefficients stop at 1 of the 1.25 that would be best: 1 / (1 - 0.96 x 0.9) at a tenth.
    assert goal.variance_reduction.coefficient == 1.0
    assert goal.variance_reduction.effective_label_multiplier > 5


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, Verdict.OK), (1.5, Verdict.BREACH)])
def test_costs_are_compared_by_their_means(scale: float, verdict: Verdict) -> None:
    plan = Plan(guardrails=(Guardrail(Guard.COST, 0.1),))

    def arm(factor: float) -> Cell:
        # Half of the calls cost 1 and half 3 thousandths of a USD.
        low, high = int(1_000_000 * factor), int(3_000_000 * factor)
        costs = [low] * 500 + [high] * 500
        return cell(
            1_000,
            cost=sum(costs),
            cost_known=1_000,
            cost2=sum(c * c for c in costs),
            cost_n=sum(costs),
        )

    cells = {(1, "primary"): arm(1), (1, "canary"): arm(scale)}
    found = analyse(plan, designs(5_000), cells, now=NOON).guardrails[0]

    assert found.estimate == pytest.approx(scale - 1)
    assert found.events.primary == pytest.approx(0.002)
    assert found.verdict is verdict


def test_unknown_costs_are_not_compared() -> None:
    plan = Plan(guardrails=(Guardrail(Guard.COST, 0.1),))
    cells = {(1, arm): cell(1_000) for arm in ("primary", "canary")}
    found = analyse(plan, designs(5_000), cells, now=NOON).guardrails[0]

    assert (found.estimate, found.log_e, found.verdict) == (None, None, "insufficient_data")


def test_a_feedback_by_name_can_be_the_goal() -> None:
    plan = plan_from({"task": "draft"})

    def arm(yes: int) -> Cell:
        one, w = 10**6, 10**7
        sums = {"n": 1_000, "v": yes * one, "vv": yes * one**2, "w": 1_000 * w}
        sums |= {"wv": yes * w * one, "w2": 1_000 * w * w, "w2v": yes * w * w * one}
        sums |= {"w2vv": yes * w * w * one * one, "u_w2": 1_000 * w * w}
        sums |= {"u_wv_w": yes * w * w * one, "u_wv2": yes * w * w * one * one}
        return cell(10_000, drawn=1_000, **{f"value:approved:{k}": v for k, v in sums.items()})

    cells = {(1, "primary"): arm(700), (1, "canary"): arm(750)}
    boolean = analyse(plan, designs(5_000), cells, now=NOON).goals[0]
    as_number = plan_from({"goal": {"metric": "approved_", "kind": "float", "margin": 0.03}})
    renamed = {
        key: Cell({k.replace(":approved:", ":approved_:"): v for k, v in c.totals.items()})
        for key, c in cells.items()
    }
    number = analyse(as_number, designs(5_000), renamed, now=NOON).goals[0]

    assert boolean.estimate == pytest.approx(0.05)
    # Two proportions' error, by hand: sqrt(.7 .3 / 1000 + .75 .25 / 1000)
    assert boolean.se == pytest.approx(0.01994, abs=3e-5)
    assert (number.estimate, number.gate.units) == (pytest.approx(0.05), 1_000)
    assert number.se == pytest.approx(boolean.se, rel=2e-3)
    assert boolean.labelled == number.labelled == PerArm(1_000, 1_000)


def test_planning_counts_what_is_missing_and_when_it_comes() -> None:
    cells = {(1, arm): cell(1_000, audited=(100, 80)) for arm in ("primary", "canary")}
    plan = analyse(PLAN, designs(5_000), cells, now=NOON).planning[0]

    assert plan.labels_missing is not None
    # 200 labels came in one day.
    assert plan.eta_s == pytest.approx(plan.labels_missing * 86_400 / 200, rel=0.01)
    # (1.96 + .8416)^2 2 (.8 .2) / .03^2 an arm (Fleiss), twice, and 1.25 for the looks
    assert plan.labels_needed_80pct == pytest.approx(6_977, abs=3)


def test_identical_arms_of_alike_calls_differ_as_often_as_the_error_says() -> None:
    """A ramp over a drifting base rate, four calls a unit that resemble each other."""
    rng, runs, of = np.random.default_rng(20_260_101), 300, 4
    w = 10**6  # all are labelled

    def arm(units: int, base: float) -> Cell:
        rate = np.clip(rng.normal(base, 0.2, units), 0, 1)
        agree = rng.binomial(of, rate)
        yes = int(agree.sum())
        sums = weighted(of * units, yes, w)
        sums |= {"units": units, "nn": of * of * units, "u_w2": of * of * units * w * w}
        sums |= {"u_wy2": int((agree**2).sum()) * w * w, "u_wy_w": of * yes * w * w}
        return Cell({**cell(of * units, audited=(of * units, yes)).totals, **sums})

    ramp = ((0.05, 50, 950, 0.6), (0.25, 250, 750, 0.7), (0.5, 500, 500, 0.8))
    far = 0
    for _ in range(runs):
        pairs = [
            Pairing(i, share, arm(primary, base), arm(canary, base))
            for i, (share, canary, primary, base) in enumerate(ramp)
        ]
        goal = goal_finding(PLAN, pairs, "canary", is_valid=True)
        assert goal.estimate is not None
        assert goal.se is not None
        far += abs(goal.estimate) > 1.96 * goal.se

    # 5 % of runs, give or take what happens to one seed in a thousand. Errors that take
    # calls for units are wrong in 15 %.
    assert binom.ppf(0.001, runs, 0.05) <= far <= binom.ppf(0.999, runs, 0.05)


@pytest.mark.parametrize(("share_bp", "failures"), [(100, 3), (500, 4), (5_000, 12)])
def test_a_canary_that_fails_while_the_primary_does_not_is_caught_after_a_few_calls(
    share_bp: int, failures: int
) -> None:
    """The smaller the share, the less a failure in it can be chance."""

    def verdict(failed: int) -> Verdict:
        served = 2 * failed * 10_000 // share_bp
        cells = {(1, "primary"): cell(served), (1, "canary"): cell(2 * failed, bad=failed)}
        return analyse(PLAN, designs(share_bp), cells, now=NOON).guardrails[0].verdict

    assert verdict(failures) is Verdict.BREACH
    assert verdict(failures - 1) is Verdict.OK
