"""Run every measurement: one `name: value` line a figure."""

from tests.bench import bench_drain, journal, overhead, reload

for measurement in (journal, bench_drain, reload, overhead):
    measurement.main()
