"""The metrics as declared, documented and recorded by what needs no server."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serve_app import metrics
from serve_app.engine.device import Backend
from serve_app.engine.queue import BatchLimits, Hearing, Stage, Step
from serve_app.engine.scheduler import Scheduler
from serve_app.metrics import METRICS, Histogram, Metric
from tests.contract.promql import alert_queries, needs, panel_queries
from tests.unit.ledger import Ledger
from tools.dashboard import dashboard
from tools.metrics_page import metrics_page

ROOT = Path(__file__).parents[2]
QUERIES = panel_queries() | alert_queries()


def test_the_committed_page_is_current() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics_page()


def test_the_committed_dashboard_is_current() -> None:
    committed = (ROOT / "k8s" / "observability" / "dashboard.json").read_text(encoding="utf-8")
    assert json.loads(committed) == dashboard()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_declaration_says_what_and_in_which_unit(metric: Metric) -> None:
    assert [other.name for other in METRICS].count(metric.name) == 1
    assert metric.help.endswith(".")
    for unit in ("seconds", "bytes"):
        assert unit in metric.help or not metric.name.endswith(unit)
    assert not metric.values or len(metric.labels) == 1
    if isinstance(metric, Histogram):
        assert metric.buckets == tuple(sorted(set(metric.buckets))) != ()


def test_the_stages_are_those_of_the_scheduler() -> None:
    assert [stage.name.lower() for stage in Stage] == [*metrics.STAGES]


class Echo(Backend):
    """Returns what it gets."""

    def run(
        self, stage: Stage, key: object, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        return payloads


def encoding() -> Hearing:
    return (yield Step(Stage.ENCODE, "k", seconds=30.0))


def decoding() -> Hearing:
    encoded = yield from encoding()
    return (yield Step(Stage.GENERATE, "k", (encoded, None)))


def test_the_scheduler_counts_windows_room_and_time() -> None:
    ledger = Ledger()
    scheduler = Scheduler(Echo(), BatchLimits(encode=4, decode=8), workers=1, sink=ledger)
    began = time.perf_counter()
    request = scheduler.open_request()
    for job in [scheduler.hear(request, decoding()) for _ in range(6)]:
        job.heard.result(timeout=10)
    scheduler.stop()
    for stage, limit in (("encode", 4), ("generate", 8)):
        sizes = ledger.observed(metrics.BATCH_WINDOWS, stage=stage)
        assert sum(sizes) == ledger.total(metrics.STAGE_WINDOWS, stage=stage) == 6
        assert len(sizes) == ledger.total(metrics.STAGE_BATCHES, stage=stage)
        assert len(sizes) * limit == ledger.total(metrics.STAGE_SLOTS, stage=stage)
        assert len(ledger.observed(metrics.QUEUE_WAIT_SECONDS, stage=stage)) == 6
    assert 0 < ledger.total(metrics.ENGINE_ACTIVE_SECONDS) < time.perf_counter() - began


def test_two_workers_at_once_are_active_only_once() -> None:
    ledger, both = Ledger(), threading.Barrier(2)

    class Meeting(Backend):
        def run(
            self, stage: Stage, key: object, payloads: Sequence[Any], *, alone: bool
        ) -> Sequence[Any]:
            both.wait(timeout=10)
            return payloads

    began = time.perf_counter()
    scheduler = Scheduler(Meeting(), BatchLimits(), workers=2, sink=ledger)
    request = scheduler.open_request()
    for job in [scheduler.hear(request, encoding()) for _ in range(2)]:
        job.heard.result(timeout=10)
    scheduler.stop()
    busy = ledger.total(metrics.STAGE_BUSY_SECONDS, stage="encode")
    active = ledger.total(metrics.ENGINE_ACTIVE_SECONDS)
    assert 0 < active <= min(busy, time.perf_counter() - began)


@pytest.mark.parametrize(
    "title",
    [
        "WhisperOxRejects",
        "WhisperOxServerErrors",
        "Rejected by reason: {{reason}}",
        "Share of 5xx: 5xx",
    ],
)
def test_probes_are_no_failed_requests(title: str) -> None:
    """While a model is loaded, every probe of /readyz is answered with 503."""
    assert all("route" in labels for labels in needs(QUERIES[title]).values())
