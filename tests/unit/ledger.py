"""A metrics sink that tests can read."""

from collections import defaultdict

from typing_extensions import override

from serve_app.metrics import Counter, Gauge, Histogram, Metric, Sink

Series = tuple[str, tuple[tuple[str, str], ...]]


class Ledger(Sink):
    """Keeps everything in memory, and insists on declared labels and plausible values."""

    def __init__(self) -> None:
        self.totals: dict[Series, float] = defaultdict(float)
        self.gauges: dict[Series, float] = {}
        self.observations: dict[Series, list[float]] = defaultdict(list)

    @override
    def count(self, metric: Counter, amount: float = 1.0, **labels: str) -> None:
        assert amount >= 0
        self.totals[_series(metric, labels)] += amount

    @override
    def set(self, metric: Gauge, value: float, **labels: str) -> None:
        self.gauges[_series(metric, labels)] = value

    @override
    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        assert value >= 0
        self.observations[_series(metric, labels)].append(value)

    def total(self, metric: Counter, **labels: str) -> float:
        return self.totals[_series(metric, labels)]

    def gauge(self, metric: Gauge, **labels: str) -> float:
        return self.gauges[_series(metric, labels)]

    def observed(self, metric: Histogram, **labels: str) -> list[float]:
        return self.observations[_series(metric, labels)]


def _series(metric: Metric, labels: dict[str, str]) -> Series:
    assert set(labels) == set(metric.labels), metric.name
    assert not metric.values or labels[metric.labels[0]] in metric.values
    return metric.name, tuple(sorted(labels.items()))
