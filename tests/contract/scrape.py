"""Reading a metrics endpoint as Prometheus does."""

import re
import time
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtest.server import Server
from serve_app.metrics import METRICS, Counter, Metric
from tests.conditions import eventually

REPORT_ENVIRONMENT = {"RAY_metrics_report_interval_ms": "1000"}
"""In seconds. The shortest interval that Ray accepts; each process reports at its own times."""
QUIET_SECONDS = 3.0
"""In seconds. After this, everything that was counted before has arrived."""

COUNTERS = {metric.exported_name for metric in METRICS if isinstance(metric, Counter)}


@dataclass(frozen=True)
class Scrape:
    """All samples of one answer."""

    samples: tuple[Sample, ...]

    def of(self, metric: Metric) -> list[Sample]:
        """The series of a metric, those of a histogram's count included."""
        names = (metric.exported_name, f"{metric.exported_name}_count")
        return [sample for sample in self.samples if sample.name in names]

    def total(self, metric: Metric, **labels: str) -> float:
        """Sum over all series with these labels, a histogram's count."""
        return sum(s.value for s in self.of(metric) if labels.items() <= s.labels.items())

    def by(self, metric: Metric, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of ``labels``, to the millionth."""
        sums: dict[tuple[str, ...], float] = {}
        for sample in self.of(metric):
            group = tuple(sample.labels[label] for label in labels)
            sums[group] = round(sums.get(group, 0.0) + sample.value, 6)
        return sums

    def labels(self, name: str) -> set[str]:
        """Labels of a series by its full name; none if there is no such series."""
        return {label for s in self.samples if s.name == name for label in s.labels}


def endpoint(server: Server) -> str:
    """The URL that the server printed."""
    found = re.search(r"metrics on (\S+)", server.log.read_text())
    assert found, "the server was not started with --metrics-port"
    return found[1]


def scrape(server: Server) -> Scrape:
    """What the endpoint says now."""
    text = httpx.get(endpoint(server), timeout=10).raise_for_status().text
    families = text_string_to_metric_families(text)
    return Scrape(tuple(sample for family in families for sample in family.samples))


def settled(server: Server) -> Scrape:
    """The first scrape after every process has reported what it had counted."""
    seen: list[tuple[float, dict[str, float]]] = []

    def unchanged() -> Scrape | None:
        now, latest = time.monotonic(), scrape(server)
        counted = {str(s.labels) + s.name: s.value for s in latest.samples if s.name in COUNTERS}
        if not seen or seen[0][1] != counted:
            seen[:] = [(now, counted)]
        return latest if now - seen[0][0] > QUIET_SECONDS else None

    return eventually(unchanged)
