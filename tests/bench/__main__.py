"""Run every measurement: one `name: value` line a figure."""

from tests.bench import (
    bench_drain,
    bench_drain_totals,
    bench_results,
    bench_totals,
    datasets,
    decisions,
    export,
    feedback,
    journal,
    overhead,
    reload,
)

for measurement in (
    journal,
    bench_drain,
    bench_drain_totals,
    bench_totals,
    bench_results,
    reload,
    decisions,
    feedback,
    datasets,
    export,
    overhead,
):
    measurement.main()
