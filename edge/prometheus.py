"""The agent's counters for Prometheus, read when scraped; imports prometheus-client, so import it only where wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge.errors import EdgeError
from edge.metrics import Histogram, Metrics

# Counter -> (name of its label, "" for a plain one; help). Others are exported as they are called.
_KNOWN = {
    "windows": ("", "Windows answered."),
    "samples": ("", "Samples taken into windows."),
    "gaps": ("", "Gaps in the sequence of samples."),
    "missing": ("", "Samples that did not come."),
    "not_finite": ("", "Samples that were no numbers."),
    "lead_off": ("", "Samples taken with an electrode off."),
    "late": ("", "Samples that came twice or too late."),
    "verdicts": ("status", "Windows whose status is not ok."),
    "dropped": ("reason", "What was dropped: messages, blocks, windows or results."),
    "restarts": ("part", "Parts started again after a failure, the interpreter among them."),
    "events": ("message", "Events begun and ended, by kind."),
}


class ExporterError(EdgeError):
    """Metrics cannot be served; the message says why."""


class AgentCollector(Collector):
    """Everything at once, from one reading. `facts` gives what `health` tells, `model` its bundle's reference."""

    def __init__(
        self,
        metrics: Metrics,
        latency: Histogram,
        facts: Callable[[], Mapping[str, Any]],
        model: Callable[[], str],
    ) -> None:
        self._metrics, self._latency, self._facts, self._model = metrics, latency, facts, model

    def collect(self) -> Iterator[Metric]:
        facts = self._facts()
        gauges = self._metrics.gauges()
        for name, value in self._metrics.snapshot().items():
            if name in gauges:
                yield GaugeMetricFamily(
                    f"wavewall_{name}", f"{name.replace('_', ' ')} now.", value=gauges[name]
                )
                continue
            label, help_ = _KNOWN.get(name, ("kind", f"Counter {name}, as in health."))
            if isinstance(value, Mapping):
                family = CounterMetricFamily(f"wavewall_{name}", help_, labels=[label or "kind"])
                for key, count in value.items():
                    family.add_metric([key], count)
            else:
                family = CounterMetricFamily(f"wavewall_{name}", help_, value=value)
            yield family
        buckets, total = self._latency.read()
        yield HistogramMetricFamily(
            "wavewall_latency_seconds",
            "From a window's last sample in hand to its verdict.",
            buckets=[(f"{bound:g}" if bound != float("inf") else "+Inf", count) for bound, count in buckets],
            sum_value=total,
        )
        yield from _health(facts)
        yield InfoMetricFamily(
            "wavewall_model",
            "The bundle that answers.",
            value={"ref": self._model(), "boot_id": str(facts["boot_id"])},
        )


def _health(facts: Mapping[str, Any]) -> Iterator[Metric]:
    for name, help_, value in (
        ("streams", "Streams that have state.", facts["streams"]),
        ("streams_online", "Streams that are heard.", facts["online"]),
        ("degraded", "1 while a source or sink has an error.", float(facts["status"] != "ok")),
        ("uptime_seconds", "Since the start of the agent.", facts["uptime_s"]),
        ("resident_memory_bytes", "Memory of the process.", facts["rss_bytes"]),
    ):
        yield GaugeMetricFamily(f"wavewall_{name}", help_, value=float(value))
    waiting = GaugeMetricFamily("wavewall_spool_waiting", "Messages that wait for a sink.", labels=["sink"])
    for sink in facts["sinks"]:
        waiting.add_metric([str(sink["name"])], float(sink["waiting"]))
    yield waiting


class _Quiet(WSGIRequestHandler):
    """No line on standard error for each scrape, and nobody who only connects keeps the others waiting for long."""

    timeout = 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_exporter(host: str, port: int, collector: AgentCollector) -> WSGIServer:
    """A server that answers one scrape after the other; `serve_forever` it in a thread, `shutdown` it to end.

    Raises ExporterError.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        return make_server(host, port, make_wsgi_app(registry), handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise ExporterError(
            f"metrics: cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
            "choose another metrics.host or metrics.port"
        ) from error
