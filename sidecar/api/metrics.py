"""`/metrics`: the sidecar's and the workers' numbers, as Prometheus reads them."""

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.api.deps import Context, Reader, Shared
from sidecar.handoff.gauges import FIELDS, read_workers

router = APIRouter(tags=["metrics"])

LEVELS = ("generation", "waiting", "unapplied")  # of a worker; the others only rise


@router.get("/metrics", response_class=Response)
def show(context: Shared, _actor: Reader) -> Response:
    """Write the numbers as they are now."""
    # A registry of its own for each answer: nothing is shared with a library's metrics,
    # and nothing is counted twice.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(context))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    """Reads the numbers where they are kept."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Give every metric with its samples."""
        yield from _publishing(self._context)
        yield from _draining(self._context)
        yield from _controlling(self._context)
        yield from _workers(self._context)


def _publishing(context: Context) -> Iterator[Metric]:
    if context.publisher is None:
        return
    status = context.publisher.status
    yield GaugeMetricFamily(
        "signalops_generation", "Generation of the published routes.", status.generation
    )
    yield GaugeMetricFamily(
        "signalops_config_invalid",
        "1 while the YAML as it stands is not in force.",
        int(status.config_error is not None),
    )
    yield CounterMetricFamily(
        "signalops_publish_failures", "Tries to publish that failed.", status.failures
    )


def _draining(context: Context) -> Iterator[Metric]:
    if context.drainer is None:
        return
    status = context.drainer.status
    yield GaugeMetricFamily(
        "signalops_journal_lag_bytes", "Of the journal, not drained yet.", status.lag_bytes
    )
    yield CounterMetricFamily(
        "signalops_drain_failures", "Rounds of draining that failed.", status.failures
    )
    yield CounterMetricFamily(
        "signalops_lines_quarantined", "Journal lines put aside.", status.quarantined
    )


def _controlling(context: Context) -> Iterator[Metric]:
    if context.controller is None:
        return
    status = context.controller.status
    yield GaugeMetricFamily(
        "signalops_control_in_charge", "1 where the last looks are taken.", status.in_charge
    )
    yield CounterMetricFamily(
        "signalops_control_looks", "Looks taken at experiments.", status.looks
    )
    yield CounterMetricFamily(
        "signalops_control_actions", "Decisions that were carried out.", status.actions
    )
    yield CounterMetricFamily(
        "signalops_control_failures", "Rounds of looks that failed.", status.failures
    )


def _workers(context: Context) -> Iterator[Metric]:
    reports = read_workers(context.volume.workers)
    alive = GaugeMetricFamily(
        "signalops_worker_alive", "1 while the proxy worker runs.", labels=["worker"]
    )
    for report in reports:
        alive.add_metric([report.writer], int(report.alive))
    yield alive
    for name in FIELDS:
        metric: GaugeMetricFamily | CounterMetricFamily
        if name in LEVELS:
            metric = GaugeMetricFamily(
                f"signalops_worker_{name}", f"Of the proxy worker: {name}.", labels=["worker"]
            )
        else:
            metric = CounterMetricFamily(
                f"signalops_worker_{name}", f"Of the proxy worker: {name}.", labels=["worker"]
            )
        for report in reports:
            metric.add_metric([report.writer], report.values[name])
        yield metric
