"""Metrics by way of Ray: no request fails for one, and a local server passes on what Ray says."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from serve_app import metrics
from serve_app.serving.ray_metrics import MetricsEndpoint, RayMetrics


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


def test_the_endpoint_says_when_rays_agent_is_gone() -> None:
    unused = MetricsEndpoint("127.0.0.1", 0, 1)
    assert httpx.get(unused.url).status_code == 503
