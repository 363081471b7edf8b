"""Metrics through Ray: recorded in a replica, answered for a local server.

:mod:`ray.serve.metrics` adds the labels ``application``, ``deployment`` and ``replica``. On each
node, Ray's agent collects from every process, by default every 10 s
(``RAY_metrics_report_interval_ms``), and answers Prometheus at a port of its own.
"""

import http.client
import logging
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ray.serve import metrics as serve_metrics
from typing_extensions import override

from serve_app.metrics import METRICS, PREFIX, Counter, Gauge, Histogram, Metric, Process, Sink

logger = logging.getLogger("whisper_ox.metrics")

REPEAT_SECONDS = 1.0
"""Seconds after which gauges are reported again. Ray's agent forgets a gauge after twice its report
interval, which is at least a second."""

_NOTHING = math.ulp(0.0)
"""The smallest positive number, which vanishes in any sum: Ray refuses to count 0."""

PATH = "/metrics"
AGENT_TIMEOUT_SECONDS = 8.0
"""In seconds, below the 10 s after which Prometheus gives up on a scrape."""


class RayMetrics(Sink):
    """Records the metrics of one deployment. Create it inside a replica.

    What Ray refuses to record is logged once per metric, so that no request fails for a figure.
    """

    def __init__(self, process: Process) -> None:
        self._of_ray = {m.name: _declared(m) for m in METRICS if m.process == process}
        self._values: dict[tuple[Gauge, tuple[tuple[str, str], ...]], float] = {}
        self._values_lock = threading.Lock()
        self._refused: set[str] = set()
        threading.Thread(target=self._repeat_gauges, name="gauges", daemon=True).start()

    @override
    def count(self, metric: Counter, amount: float = 1.0, **labels: str) -> None:
        if amount > 0:
            with self._reported(metric):
                self._of_ray[metric.name].inc(float(amount), labels)

    @override
    def set(self, metric: Gauge, value: float, **labels: str) -> None:
        # Without the lock a repeated value could follow a newer one.
        with self._reported(metric), self._values_lock:
            self._of_ray[metric.name].set(float(value), labels)
            self._values[metric, tuple(labels.items())] = float(value)

    @override
    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        with self._reported(metric):
            self._of_ray[metric.name].observe(float(value), labels)

    @contextmanager
    def _reported(self, metric: Metric) -> Iterator[None]:
        """Log an exception, the first of each metric, instead of raising it."""
        try:
            yield
        except Exception:
            if metric.name not in self._refused:
                self._refused.add(metric.name)
                logger.exception("%s cannot be recorded", metric.exported_name)

    def _repeat_gauges(self) -> None:
        pause = threading.Event()
        while not pause.wait(REPEAT_SECONDS):
            with self._values_lock:
                for (metric, labels), value in self._values.items():
                    with self._reported(metric):
                        self._of_ray[metric.name].set(value, dict(labels))


def _declared(metric: Metric) -> Any:
    """Ray's own object for a metric."""
    name = PREFIX + metric.name
    if isinstance(metric, Histogram):
        return serve_metrics.Histogram(name, metric.help, list(metric.buckets), metric.labels)
    if isinstance(metric, Gauge):
        return serve_metrics.Gauge(name, metric.help, metric.labels)
    counter = serve_metrics.Counter(name, metric.help, metric.labels)
    # Prometheus sees no increase when a series appears with its first event, so those whose labels
    # are known exist from the start.
    if not metric.labels:
        counter.inc(_NOTHING, {})
    for value in metric.values:
        counter.inc(_NOTHING, {metric.labels[0]: value})
    return counter


class MetricsEndpoint:
    """``GET /metrics`` on ``host:port``, answered by what listens on ``source_port`` here.

    Ray's agent listens on the loopback interface or on all of them; here a local server's user
    chooses. Raises ``OSError`` if nothing can listen on ``host:port``.
    """

    def __init__(self, host: str, port: int, source_port: int) -> None:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        class Handler(_Relay):
            source = source_port

        self._server = Server((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}{PATH}"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()


class _Relay(BaseHTTPRequestHandler):
    source: int
    timeout = 10.0  # for a client that connects and says nothing

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}")
            return
        agent = http.client.HTTPConnection("127.0.0.1", self.source, timeout=AGENT_TIMEOUT_SECONDS)
        text: bytes | None = None
        with closing(agent), suppress(OSError, http.client.HTTPException):
            agent.request("GET", PATH)
            answer = agent.getresponse()
            if answer.status == HTTPStatus.OK:
                text = answer.read()
                kind = answer.getheader("Content-Type", "text/plain; version=0.0.4")
        if text is None:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Ray's metrics agent does not answer")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: a scrape every few seconds is not an event."""
