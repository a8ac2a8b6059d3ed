"""Are the exact tests as rarely wrong as they say, and as quick as they should be?

The sample ratio, the guardrails and the paired comparison: none of them is asymptotic.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sidecar.core.stats.counts import beta_binomial_log_e, risk_ratio_log_es
from sidecar.core.stats.multiplicity import union_log_threshold
from sidecar.core.stats.srm import SRM_LOG_E, dirichlet_multinomial_log_e
from tests.bench.simulation.findings import Finding, Findings, at_least, at_most, near

Array = NDArray[np.float64]
RAMP = (0.01, 0.05, 0.25, 0.50)
CHUNK = 500
LOOKS = 250
HARMS = ((3, 0.05, 100, 19), (10, 0.05, 20, 7), (50, 0.01, 20, 3))  # ratio, share, units a look
CHI_SQUARED_001 = 10.827566170662733  # of one degree of freedom, p = 0.001


def sample_ratio(rng: np.random.Generator, runs: int) -> Findings:
    """D2.5: alarms at any of 500 looks although the split is as designed."""
    alarms = peeked = ramped = 0
    for size in _chunks(runs):
        canary = _running(rng, size, 500, 100, 0.5)
        log_e = split_log_e(canary, 100.0, 0.5)
        alarms += int((log_e >= SRM_LOG_E).any(axis=1).sum())
        total = 100.0 * np.arange(1, 501)
        chi = (canary - total / 2) ** 2 / (total / 4)
        peeked += int((chi > CHI_SQUARED_001).any(axis=1).sum())
        ramped += int((_ramp_log_e(rng, size) >= SRM_LOG_E).any(axis=1).sum())
    yield at_most("sample ratio: false alarm in 500 looks", alarms / runs, runs, 0.001)
    yield at_most(
        "sample ratio: false alarm in a ramp of 240 looks", ramped / runs, runs, 0.001
    )
    # README D3: 2.2 to 3.2 %, over twenty times what it says.
    name = "must fail: chi-squared at 0.001, false alarm in 500 looks"
    yield at_least(name, peeked / runs, runs, 0.02)


def sample_ratio_detection(rng: np.random.Generator, runs: int) -> Findings:
    """Median units until a wrong split is found; README D3 names the sizes."""
    for designed, real, known in ((0.5, 0.52, 10_500), (0.05, 0.04, 7_500), (0.5, 0.6, 500)):
        per_look = known // 50
        canary = _running(rng, min(runs, 2000), 200, per_look, real)
        out = split_log_e(canary, float(per_look), designed) >= SRM_LOG_E
        units = np.where(out.any(axis=1), (out.argmax(axis=1) + 1.0) * per_look, math.inf)
        name = f"sample ratio: units to see {real:g} instead of {designed:g}"
        yield near(name, float(np.median(units)), known, 0.12)


def split_log_e(canary: Array, per_look: float, share: float) -> Array:
    """Evidence against a split at every look, from the canary's units so far."""
    total = per_look * np.arange(1, canary.shape[1] + 1)
    return dirichlet_multinomial_log_e(
        np.stack([total - canary, canary], axis=-1), [1 - share, share]
    )


def _ramp_log_e(rng: np.random.Generator, runs: int) -> Array:
    """Evidence against the split over a ramp: each stage adds to what the last ones left."""
    left, parts = np.zeros((runs, 1)), []
    for share in RAMP:
        parts.append(left + split_log_e(_running(rng, runs, 60, 500, share), 500.0, share))
        left = parts[-1][:, -1:]
    return np.concatenate(parts, axis=1)


def guardrails(rng: np.random.Generator, runs: int) -> Findings:
    """D2.6: any of three guardrails ever broken, all true ratios at the permitted 1.25."""
    any_broken = single = 0
    for size in _chunks(runs):
        highest = np.stack(
            [
                events_log_e(rng, size, base, 1.25, 0.05).max(axis=1)
                for base in (0.01, 0.05, 0.15)
            ]
        )
        any_broken += int((highest >= union_log_threshold(3, 0.05)).any(axis=0).sum())
        single += int((highest[0] >= math.log(1 / 0.0125)).sum())
    yield at_most(
        "guardrails: false rollback, three at the limit", any_broken / runs, runs, 0.05
    )
    yield at_most("guardrails: false rollback, one at 0.0125", single / runs, runs, 0.0125)


def guardrail_detection(rng: np.random.Generator, runs: int) -> Findings:
    """Canary events until harm is found: base rate 1 %, limit 1.25, alpha 0.0125.

    The study's medians (README D3): 19 events at three times the rate, 7 at ten times, and 3
    at fifty times with a canary of 1 %. Events are whole numbers, so one more is permitted.
    """
    for ratio, share, per_look, known in HARMS:
        size = min(runs, 1000)
        n_canary = rng.binomial(per_look, share, (size, LOOKS))
        canary = np.cumsum(rng.binomial(n_canary, 0.01 * ratio), axis=1, dtype=float)
        primary = np.cumsum(rng.binomial(per_look - n_canary, 0.01), axis=1, dtype=float)
        log_e = _log_e(canary, primary, share)
        out = log_e >= math.log(1 / 0.0125)
        at = np.where(out.any(axis=1), out.argmax(axis=1), LOOKS - 1)
        events = float(np.median(canary[np.arange(size), at]))
        name = f"guardrails: canary events to see {ratio} times the errors, share {share:g}"
        yield Finding(name, events, high=known + 1)


def events_log_e(
    rng: np.random.Generator, runs: int, base: float, ratio: float, share: float
) -> Array:
    """Evidence of a guardrail at 200 looks, 500 units between two."""
    n_canary = rng.binomial(500, share, (runs, 200))
    canary = np.cumsum(rng.binomial(n_canary, base * ratio), axis=1, dtype=float)
    primary = np.cumsum(rng.binomial(500 - n_canary, base), axis=1, dtype=float)
    return _log_e(canary, primary, share)


def pairs(rng: np.random.Generator, runs: int) -> Findings:
    """Shadow pairs: sequential McNemar at half against half, k = 10."""
    for better, worse, known in ((0.07, 0.02, 362), (0.09, 0.04, 485)):
        taken, _ = _pairs_taken(rng, runs, better, worse)
        name = f"pairs: mean to see {better:g} against {worse:g}"
        yield near(name, float(taken.mean()), known, 0.1)
    _, wrong = _pairs_taken(rng, runs, 0.05, 0.05)
    yield at_most("pairs: A/A wrong either way", float(wrong.mean()), runs, 0.05)


def _pairs_taken(
    rng: np.random.Generator, runs: int, better: float, worse: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Pairs until either is found better, of 5,000 at most; a look every 20."""
    taken, found = [], []
    for size in _chunks(runs):
        drawn = rng.random((size, 5000))
        wins = np.cumsum(drawn < better, axis=1, dtype=float)[:, 19::20]
        losses = np.cumsum(drawn >= 1 - worse, axis=1, dtype=float)[:, 19::20]
        out = beta_binomial_log_e(wins, losses, 0.5) >= math.log(1 / 0.05)
        taken.append(np.where(out.any(axis=1), 20.0 * (out.argmax(axis=1) + 1), 5000.0))
        found.append(out.any(axis=1))
    return np.concatenate(taken), np.concatenate(found)


def _log_e(canary: Array, primary: Array, share: float) -> Array:
    return risk_ratio_log_es(canary[..., None], primary[..., None], np.array([share]), 1.25)


def _running(
    rng: np.random.Generator, runs: int, looks: int, per_look: int, share: float
) -> Array:
    """The canary's units so far, at each look."""
    return np.cumsum(rng.binomial(per_look, share, (runs, looks)), axis=1, dtype=float)


def _chunks(runs: int) -> list[int]:
    return [min(CHUNK, runs - start) for start in range(0, runs, CHUNK)]
