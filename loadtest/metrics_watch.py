"""A server's metrics during a load run: batches, queue, refusals, and the engine's own RTFx.

Only what a server of ours exports (:mod:`serve_app.metrics`); Ray passes counts on with a delay of
its report interval, so a figure of one interval is as good as that interval is long.
"""

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serve_app import metrics
from serve_app.metrics import Metric

REPORT_ENVIRONMENT = {"RAY_metrics_report_interval_ms": "2000"}
"""For a server that is started for the run; Ray's default is 10 s."""

EVERY_SECONDS = 5.0
SCRAPE_TIMEOUT_SECONDS = 10.0

_SCRAPED = (
    metrics.STAGE_WINDOWS,
    metrics.STAGE_BATCHES,
    metrics.STAGE_SLOTS,
    metrics.AUDIO_TRANSCRIBED_SECONDS,
    metrics.ENGINE_ACTIVE_SECONDS,
    metrics.QUEUED_WINDOWS,
    metrics.OPEN_REQUESTS,
    metrics.REJECTED,
)


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
    names = {metric.exported_name for metric in _SCRAPED}
    values: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in names:
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
    series: dict[str, list[Any]] = {
        name: [] for name in ("at", "fill", "batch", "rtfx", "queued_windows", "open_requests")
    }
    for before, after in itertools.pairwise(samples):
        windows, batches, slots = (
            after.of(metric, "generate") - before.of(metric, "generate")
            for metric in (metrics.STAGE_WINDOWS, metrics.STAGE_BATCHES, metrics.STAGE_SLOTS)
        )
        audio, active = (
            after.of(metric) - before.of(metric)
            for metric in (metrics.AUDIO_TRANSCRIBED_SECONDS, metrics.ENGINE_ACTIVE_SECONDS)
        )
        series["at"].append((before.unix + after.unix) / 2 - began_unix)
        series["fill"].append(windows / slots if slots > 0 else None)
        series["batch"].append(windows / batches if batches > 0 else None)
        series["rtfx"].append(audio / active if active > 0 else None)
        series["queued_windows"].append(after.of(metrics.QUEUED_WINDOWS))
        series["open_requests"].append(after.of(metrics.OPEN_REQUESTS))
    return series


def engine_figures(samples: list[Sample]) -> dict[str, Any]:
    """The same from the first sample to the last, as JSON values; {} with fewer than two."""
    if len(samples) < 2:
        return {}
    series = engine_series([samples[0], samples[-1]], samples[0].unix)
    rejected = samples[-1].of(metrics.REJECTED) - samples[0].of(metrics.REJECTED)
    names = {"fill": "decode_fill", "batch": "decode_batch", "rtfx": "engine_rtfx"}
    return {
        **{new: series[old][0] for old, new in names.items()},
        "rejected": rejected,
        "most_queued_windows": max(sample.of(metrics.QUEUED_WINDOWS) for sample in samples),
        "most_open_requests": max(sample.of(metrics.OPEN_REQUESTS) for sample in samples),
    }
