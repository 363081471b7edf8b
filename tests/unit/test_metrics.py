"""The metrics as declared, documented and recorded by what needs no server."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from configs.dashboard import dashboard
from serve_app.api.request_metrics import RequestMetrics
from serve_app.engine.queue import BatchLimits, Hearing, Stage, Step
from serve_app.engine.scheduler import Scheduler
from serve_app.metrics import catalogue as metrics
from serve_app.metrics.catalogue import METRICS, Histogram, Metric
from serve_app.metrics.endpoint import MetricsEndpoint
from serve_app.metrics.page import metrics_page
from serve_app.metrics.ray_sink import RayMetrics
from tests.contract.promql import alert_queries, needs, panel_queries
from tests.unit.ledger import Ledger

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


class Echo:
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

    class Meeting:
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


def scope(path: str | None, **state: str) -> dict[str, Any]:
    """An ASGI scope that has been routed to the template ``path``."""
    if path is None:
        return {"method": "BREW", "path": "/made/up", "state": state}
    return {"method": "POST", "path": path, "state": state, "route": SimpleNamespace(path=path)}


def test_a_request_is_counted_under_its_template_key_and_status() -> None:
    ledger = Ledger()
    requests = RequestMetrics(ledger)
    requests.begin()
    assert ledger.gauge(metrics.REQUESTS_IN_FLIGHT) == 1
    requests.end(scope("/transcribe", key_name="ward-7"), 200, 1.5, 1.4)
    labels = {"method": "POST", "route": "/transcribe", "status": "200", "key": "ward-7"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert ledger.observed(metrics.REQUEST_SECONDS, route="/transcribe") == [1.5]
    assert ledger.observed(metrics.FIRST_BYTE_SECONDS, route="/transcribe") == [1.4]
    assert ledger.gauge(metrics.REQUESTS_IN_FLIGHT) == 0


def test_clients_cannot_make_up_label_values() -> None:
    ledger = Ledger()
    requests = RequestMetrics(ledger)
    requests.begin()
    requests.end(scope(None, error_code="not_found"), 404, 0.1, 0.1)
    labels = {"method": "other", "route": "other", "status": "404", "key": "anonymous"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert ledger.total(metrics.REJECTED, reason="not_found", route="other") == 1


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


def test_a_client_that_left_got_no_first_byte() -> None:
    ledger = Ledger()
    requests = RequestMetrics(ledger)
    requests.begin()
    requests.end(scope("/transcribe"), 0, 3.0, 0.0)
    labels = {"method": "POST", "route": "/transcribe", "status": "gone", "key": "anonymous"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert not ledger.observed(metrics.FIRST_BYTE_SECONDS, route="/transcribe")


def test_what_ray_does_not_record_is_logged_once_and_fails_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = RayMetrics("Transcriber")
    for _ in range(3):
        sink.count(metrics.STAGE_WINDOWS)  # without its label
        sink.observe(metrics.BATCH_WINDOWS, 8)
        sink.set(metrics.REQUESTS_IN_FLIGHT, 1)  # of the other process
    assert [record.getMessage() for record in caplog.records] == [
        f"{metric.exported_name} cannot be recorded"
        for metric in (metrics.STAGE_WINDOWS, metrics.BATCH_WINDOWS, metrics.REQUESTS_IN_FLIGHT)
    ]


@pytest.fixture
def source() -> Iterator[int]:
    """The port of an agent with one metric."""

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"ray_metric 1\n")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_endpoint_passes_on_what_rays_agent_says(source: int) -> None:
    endpoint = MetricsEndpoint("127.0.0.1", 0, source)
    answer = httpx.get(endpoint.url)
    assert answer.text == "ray_metric 1\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert httpx.get(endpoint.url.removesuffix("/metrics")).status_code == 404
    endpoint.close()


def test_the_endpoint_says_when_rays_agent_is_gone() -> None:
    unused = MetricsEndpoint("127.0.0.1", 0, 1)
    assert httpx.get(unused.url).status_code == 503
    unused.close()
