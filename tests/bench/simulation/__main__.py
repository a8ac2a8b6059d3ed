"""Print every measured rate beside its bound; end with 1 when a bound is broken."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.bench.simulation import audits, clusters, exact, goals, labelmix, ramps, table
from tests.bench.simulation.findings import Findings

RUNS, QUICK_RUNS = 10_000, 600
Property = Callable[[np.random.Generator, int], Findings]
PROPERTIES: tuple[Property, ...] = (
    goals.grid,
    goals.coverage,
    goals.power,
    goals.naive,
    ramps.drift,
    ramps.ratio_coverage,
    clusters.clustered,
    audits.means,
    audits.sequence,
    exact.sample_ratio,
    exact.sample_ratio_detection,
    exact.guardrails,
    exact.guardrail_detection,
    exact.pairs,
    labelmix.control,
    table.engine,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the answer is the process's exit code."""
    asked = _asked(arguments)
    runs = QUICK_RUNS if asked.quick else asked.runs
    chosen = [p for p in PROPERTIES if not asked.only or p.__name__ in asked.only]
    began = time.monotonic()
    broken = report(chosen, runs, asked.seed)
    _progress(f"{runs} runs took {time.monotonic() - began:.0f} s")
    print(f"bounds_broken: {len(broken)} (at most 0)")
    for name in broken:
        print(f"  {name}")
    return 1 if broken else 0


def report(properties: Sequence[Property], runs: int, seed: int) -> list[str]:
    """Print what each property finds, and name the bounds that were broken."""
    broken = []
    for number, measure in enumerate(properties, start=1):
        _progress(f"[{number}/{len(properties)}] {(measure.__doc__ or '').splitlines()[0]}")
        # Each property has its own dice, so that one alone gives the same numbers.
        dice = np.random.default_rng([seed, *measure.__name__.encode()])
        for finding in measure(dice, runs):
            print(finding, flush=True)
            broken += [] if finding.holds else [finding.name]
    return broken


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.simulation", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="experiments a design")
    parser.add_argument("--quick", action="store_true", help="under a minute, wide bounds")
    parser.add_argument("--seed", type=int, default=20_261_121)
    parser.add_argument(
        "--only", nargs="+", choices=[measure.__name__ for measure in PROPERTIES]
    )
    return parser.parse_args(arguments)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
