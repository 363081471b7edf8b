"""What a server's metrics say during a load run: batches, queue, and the engine's own RTFx.

Only what a server of ours exports (:mod:`serve_app.metrics`); Ray passes counts on with a delay of
its report interval, so a figure of one interval is as good as that interval is long.
"""

import itertools
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serve_app import metrics
from serve_app.metrics import Metric

REPORT_ENVIRONMENT = {"RAY_metrics_report_interval_ms": "2000"}
"""For a server that is started for the run; Ray's default is 10 s."""

EVERY_SECONDS = 5.0
SCRAPE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Sample:
    """Sums over all series of a metric, by its name and, where it has stages, by stage."""

    unix: float
    values: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, metric: Metric, stage: str = "") -> float:
        """One sum; 0.0 where there is none yet."""
        return self.values.get((metric.exported_name, stage), 0.0)


def parse(text: str, unix: float) -> Sample:
    """What a Prometheus endpoint answered at ``unix``."""
    values: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, sample.labels.get("stage", ""))
            values[key] = values.get(key, 0.0) + sample.value
    return Sample(unix, values)


class MetricsWatch:
    """Scrapes ``url`` every few seconds in a thread while its context is open."""

    def __init__(self, url: str, every_seconds: float = EVERY_SECONDS) -> None:
        self._url = url
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> "MetricsWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        with httpx.Client(timeout=SCRAPE_TIMEOUT_SECONDS) as http:
            while True:
                try:
                    answer = http.get(self._url)
                    if answer.status_code == httpx.codes.OK:
                        self.samples.append(parse(answer.text, time.time()))
                except httpx.HTTPError:
                    pass  # the next one may get through
                if self._ended.wait(self._every_seconds):
                    return


def engine_series(samples: list[Sample], began_unix: float) -> dict[str, list[Any]]:
    """Between each two samples: ``at`` in seconds after ``began_unix``, batches, RTFx, queue.

    ``fill``: windows per place in decode batches; ``batch``: windows per decode batch; ``rtfx``:
    audio seconds per second in which the engine was at work. None where nothing was done.
    """
    rows = []
    for before, after in itertools.pairwise(samples):
        rate = partial(_rate, before, after)
        rows.append(
            {
                "at": (before.unix + after.unix) / 2 - began_unix,
                "fill": rate(metrics.STAGE_WINDOWS, metrics.STAGE_SLOTS, "generate"),
                "batch": rate(metrics.STAGE_WINDOWS, metrics.STAGE_BATCHES, "generate"),
                "rtfx": rate(metrics.AUDIO_TRANSCRIBED_SECONDS, metrics.ENGINE_ACTIVE_SECONDS),
                "queued_windows": after.of(metrics.QUEUED_WINDOWS),
                "open_requests": after.of(metrics.OPEN_REQUESTS),
            }
        )
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _rate(before: Sample, after: Sample, done: Metric, of: Metric, stage: str = "") -> float | None:
    much, many = (after.of(metric, stage) - before.of(metric, stage) for metric in (done, of))
    return much / many if many > 0 else None


def engine_figures(samples: list[Sample]) -> dict[str, Any]:
    """The same from the first sample to the last, as JSON values; {} with fewer than two."""
    if len(samples) < 2:
        return {}
    series = engine_series([samples[0], samples[-1]], 0.0)
    return {
        **{name: series[name][0] for name in ("fill", "batch", "rtfx")},
        "most_queued_windows": max(sample.of(metrics.QUEUED_WINDOWS) for sample in samples),
        "most_open_requests": max(sample.of(metrics.OPEN_REQUESTS) for sample in samples),
    }
