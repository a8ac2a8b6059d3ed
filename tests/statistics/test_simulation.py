"""The simulation's promises, on few seeded experiments and with binomial bounds."""

import math

import numpy as np
import pytest

from sidecar.core.analysis import analyse, readings_of
from sidecar.core.plan import Objective
from sidecar.core.ramp import Progress
from sidecar.core.readings import State
from sidecar.core.stats.spending import Spending
from sidecar.core.stats.srm import SRM_LOG_E
from tests import cells
from tests.bench.simulation import clusters, engine, exact, goals, labelmix, ramps
from tests.bench.simulation.__main__ import report
from tests.bench.simulation.findings import Finding, Findings, as_published, at_least, at_most

SEED = 20_261_121


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


@pytest.mark.parametrize(
    ("share", "rate"), [(0.5, 0.8), (0.1, 0.9), (0.05, 0.95), (0.05, 0.99), (0.01, 0.9)]
)
@pytest.mark.parametrize(("gain", "threshold"), [(0.0, 0.0), (-0.03, -0.03)])
def test_200_looks_rarely_decide_wrongly(
    rng: np.random.Generator, share: float, rate: float, gain: float, threshold: float
) -> None:
    looks = goals.Labels(rate, rate + gain, share, goals.labels_per_look(rate, share))
    for wrong in goals.error_rates(rng, looks, 400, threshold):
        finding = at_most("wrong", wrong, 400, 0.025)
        assert finding.holds, finding


def test_the_look_at_the_horizon_stays_within_alpha(rng: np.random.Generator) -> None:
    labels = goals.Labels(0.80, 0.80, 0.5, 50, looks=45)
    _, wrong = goals.found_by(rng, labels, 1000, spending=Spending(0.05), tau=0.05)
    finding = at_most("wrong", float(wrong.mean()), 1000, 0.05)
    assert finding.holds, finding
    assert wrong.any()


def test_a_ramp_over_a_drifting_base_shows_no_difference_that_is_not_there(
    rng: np.random.Generator,
) -> None:
    counts = ramps.simulate(rng, 200, np.linspace(0.70, 0.85, 200))
    for ever in (ramps.stratified_wrong(counts), ramps.counts_wrong(counts)):
        finding = at_most("wrong", float(ever.mean()), 200, 0.05)
        assert finding.holds, finding
    # Simpson's paradox: what the stages are kept apart for.
    assert ramps.pooled_wrong(counts).mean() > 0.95


def test_the_sample_ratio_alarms_when_the_split_is_wrong_and_only_then(
    rng: np.random.Generator,
) -> None:
    fair, unfair = (
        np.cumsum(rng.binomial(100, share, (400, 200)), axis=1, dtype=float)
        for share in (0.5, 0.54)
    )
    alarms = (exact.split_log_e(fair, 100.0, 0.5) >= SRM_LOG_E).any(axis=1)
    finding = at_most("false alarm", float(alarms.mean()), 400, 0.001)
    assert finding.holds, finding
    assert (exact.split_log_e(unfair, 100.0, 0.5) >= SRM_LOG_E).any(axis=1).mean() > 0.95


def test_a_guardrail_at_its_limit_rarely_breaks(rng: np.random.Generator) -> None:
    highest = exact.events_log_e(rng, 200, 0.05, 1.25, 0.05).max(axis=1)
    finding = at_most("broken", float((highest >= math.log(20)).mean()), 200, 0.05)
    assert finding.holds, finding
    harmed = exact.events_log_e(rng, 20, 0.05, 5.0, 0.05).max(axis=1)
    assert (harmed >= math.log(20)).all()


def test_calls_of_one_unit_do_not_make_a_difference_surer(rng: np.random.Generator) -> None:
    by_unit, by_call = clusters.error_rates(rng, 60, 0.25)
    finding = at_most("wrong", by_unit, 60, 0.05)
    assert finding.holds, finding
    assert by_call > by_unit


def test_the_rule_on_the_label_mix_fails_as_it_must(rng: np.random.Generator) -> None:
    promoted = labelmix.rule(rng, 600, 0.80, 0.80).promote.any(axis=1).mean()
    finding = at_least("promoted by mistake", float(promoted), 600, 0.15)
    assert finding.holds, finding


@pytest.mark.parametrize(
    ("truth", "runs", "state", "reason", "known"),
    [
        # README C5, the engine's table.
        pytest.param(engine.Truth(), 60, State.PROMOTE, "", 0.963, id="the same"),
        pytest.param(engine.Truth(gain=0.02), 60, State.PROMOTE, "", 1.0, id="2 pp better"),
        pytest.param(
            engine.Truth(gain=-0.25), 60, State.ROLLBACK, "guardrail", 0.988, id="25 pp worse"
        ),
        pytest.param(
            engine.Truth(errors=50), 60, State.ROLLBACK, "guardrail", 1.0, id="half fail"
        ),
        pytest.param(
            engine.Truth(split=0.9), 60, State.INVALID_SRM, "", 0.994, id="a tenth is missing"
        ),
        pytest.param(
            engine.Truth(gain=-0.03), 20, State.PROMOTE, "", 0.014, id="worse by the margin"
        ),
    ],
)
def test_the_engine_ends_experiments_as_the_study_did(
    rng: np.random.Generator,
    truth: engine.Truth,
    runs: int,
    state: State,
    reason: str,
    known: float,
) -> None:
    plan = engine.plan_of(horizon_look=False)
    found = engine.simulate(rng, plan, truth, runs).rate(state, reason)
    finding = as_published("ended so", found, runs, (known, 800))
    assert finding.holds, finding


def test_the_simulated_looks_are_what_the_product_reads(rng: np.random.Generator) -> None:
    plan, designs = engine.plan_of(horizon_look=True), cells.RAMP
    n = np.array([[4_950, 9_500, 7_500, 5_000], [50, 500, 2_500, 5_000]])
    bad, slow = rng.binomial(n, 0.01), rng.binomial(n, 0.05)
    labelled = rng.binomial(n - bad, 0.1)
    counts = np.stack([n, bad, slow, labelled, rng.binomial(labelled, 0.85)]).astype(float)
    simulated = engine.readings_at(engine.read(plan, counts[:, :, None]), 0, 40, 3, 1)

    filled = {
        (stage + 1, arm): cells.cell(
            int(counts[0, i, stage]),
            bad=int(counts[1, i, stage]),
            slow=int(counts[2, i, stage]),
            audited=(int(counts[3, i, stage]), int(counts[4, i, stage])),
        )
        for stage in range(4)
        for i, arm in enumerate(("primary", "canary"))
    }
    read = readings_of(
        analyse(plan, designs, filled, now=cells.NOON),
        Progress(5_000, 3, 0.0, 0.0, 0),
        canary="canary",
        at=cells.NOON,
        data_age_s=0.0,
    )
    assert simulated.goal.interval is not None
    for ours, theirs in (
        (simulated.goal.interval, read.goal.interval),
        (simulated.goal.at_horizon, read.goal.at_horizon),
    ):
        assert ours is not None
        assert theirs is not None
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert {g.metric: pytest.approx(g.log_e) for g in simulated.guardrails} == {
        g.metric: g.log_e for g in read.guardrails
    }
    assert simulated.srm_log_e == pytest.approx(read.srm_log_e)
    assert simulated.labelled == read.labelled


def test_a_canary_that_fails_half_its_calls_is_gone_after_some_ten(
    rng: np.random.Generator,
) -> None:
    plan = engine.plan_of(Objective.NON_INFERIORITY, horizon_look=True)
    ended = engine.simulate(rng, plan, engine.Truth(errors=50), 60)
    assert np.median(ended.judgments) <= 13
    assert np.median(ended.looks) <= 3


def test_a_broken_bound_is_named_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def made_up(_: np.random.Generator, runs: int) -> Findings:
        """Two numbers, one of them wrong."""
        yield at_most("kept", 0.02, runs, 0.025)
        yield at_most("too often", 0.5, runs, 0.025)

    assert report([made_up], 1000, SEED) == ["too often"]
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "kept: 0.0200 (at most 0.0410)",
        "too often: 0.5000 (at most 0.0410)  BROKEN",
    ]


def test_what_is_not_a_number_keeps_no_bound() -> None:
    assert not Finding("nothing", math.nan, low=0.0).holds
