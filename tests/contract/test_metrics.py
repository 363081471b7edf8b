"""What Prometheus reads from a real server, and what the dashboard makes of it."""

from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from loadtest.server import Server
from serve_app import metrics
from serve_app.metrics import METRICS, Counter, Metric
from tests.contract.conftest import API_KEY, API_KEY_HEADER, MAX_BODY_BYTES
from tests.contract.prometheus import BINARY, prometheus_on
from tests.contract.promql import alert_queries, needs, panel_queries
from tests.contract.scrape import Scrape, endpoint, settled
from tests.contract.test_stream import session
from tests.contract.wire import post, silence
from tests.resilience.processes import replica

HELLO_SECONDS = 18_294 / 16_000
QUERIES = panel_queries() | alert_queries()


class Traffic(NamedTuple):
    """The endpoint before and after a few requests."""

    before: Scrape
    after: Scrape

    def counted(self, metric: Counter, **labels: str) -> float:
        return self.after.total(metric, **labels) - self.before.total(metric, **labels)

    def counted_by(self, metric: Counter, *labels: str) -> dict[tuple[str, ...], float]:
        before = self.before.by(metric, *labels)
        after = self.after.by(metric, *labels)
        changes = {group: round(n - before.get(group, 0.0), 3) for group, n in after.items()}
        return {group: change for group, change in changes.items() if change}


@pytest.fixture(scope="module")
def traffic(guarded: Server, hello: bytes) -> Traffic:
    """Two good requests, one too short to hold a word and four that are refused."""
    key = {API_KEY_HEADER: API_KEY}
    url = f"{guarded.url}/v1/transcribe"
    with session(guarded, key=API_KEY) as live:
        live.speak(hello)  # its header is a click
        live.finish()
    before = settled(guarded)
    statuses = [
        post(url, hello, {"word_timestamps": True}, headers=key).status_code,
        post(url, hello, {"vad_filter": True}, headers=key).status_code,
        post(url, silence(0.1), headers=key).status_code,
        post(url, hello, {"beam_size": 99}, headers=key).status_code,
        post(url, hello, headers={API_KEY_HEADER: "wrong"}).status_code,
        post(url, bytes(MAX_BODY_BYTES + 1), headers=key).status_code,
        post(f"{guarded.url}/of/my/own", hello, headers=key).status_code,
    ]
    assert statuses == [200, 200, 200, 422, 401, 413, 404]
    return Traffic(before, settled(guarded))


def test_every_request_is_counted_once_by_route_and_status(traffic: Traffic) -> None:
    assert traffic.counted_by(metrics.REQUESTS, "method", "route", "status") == {
        ("POST", "/v1/transcribe", "200"): 3,
        ("POST", "/v1/transcribe", "422"): 1,
        ("POST", "other", "401"): 1,
        ("POST", "other", "413"): 1,
        ("POST", "other", "404"): 1,
    }


def test_refusals_are_counted_by_reason(traffic: Traffic) -> None:
    assert traffic.counted_by(metrics.REJECTED, "reason") == {
        ("invalid_option",): 1,
        ("unauthorized",): 1,
        ("body_too_large",): 1,
        ("not_found",): 1,
    }


def test_audio_is_counted_on_both_sides(traffic: Traffic) -> None:
    seconds = 2 * HELLO_SECONDS + 0.1
    assert traffic.counted(metrics.AUDIO_RECEIVED_SECONDS) == pytest.approx(seconds, abs=0.01)
    assert traffic.counted(metrics.AUDIO_TRANSCRIBED_SECONDS) == pytest.approx(seconds, abs=0.01)


def test_the_engine_counts_windows_batches_and_time(traffic: Traffic) -> None:
    windows = traffic.counted_by(metrics.STAGE_WINDOWS, "stage")
    assert windows[("encode",)] == windows[("generate",)] == 2
    assert windows[("align",)] == 2
    assert traffic.counted(metrics.STAGE_SLOTS, stage="generate") >= 2
    busy = traffic.counted(metrics.STAGE_BUSY_SECONDS)
    assert 0 < traffic.counted(metrics.ENGINE_ACTIVE_SECONDS) <= busy + 0.1
    assert 0 < traffic.counted(metrics.SPEECH_COVERED_SECONDS) <= 2 * HELLO_SECONDS + 1e-6


def test_gauges_show_the_replica_as_it_is(guarded: Server, traffic: Traffic) -> None:
    (model,) = traffic.after.of(metrics.MODEL_INFO)
    assert (model.value, model.labels["model"]) == (1, "tiny.en")
    transcriber = replica(guarded.process.pid, "Transcriber")
    assert transcriber
    resident = transcriber.memory_info().rss
    assert traffic.after.total(metrics.MEMORY_BYTES) == pytest.approx(resident, rel=0.2)
    assert traffic.after.total(metrics.REQUESTS_IN_FLIGHT) == 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_declared_metric_is_exported_with_its_labels(
    metric: Metric, traffic: Traffic
) -> None:
    series = traffic.after.of(metric)
    assert series
    assert {*metric.labels, "deployment", "replica"} <= set(series[0].labels)
    if metric.values:
        assert {s.labels[metric.labels[0]] for s in series} <= set(metric.values)


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_uses_series_and_labels_that_exist(title: str, traffic: Traffic) -> None:
    for name, labels in needs(QUERIES[title]).items():
        assert labels <= traffic.after.labels(name) != set(), name


@pytest.mark.skipif(not BINARY, reason="there is no prometheus on PATH")
def test_prometheus_finds_data_for_every_panel_and_no_alert(
    guarded: Server, traffic: Traffic, tmp_path: Path
) -> None:
    with prometheus_on(endpoint(guarded), tmp_path) as prometheus:
        empty = [title for title, query in panel_queries().items() if not prometheus.query(query)]
        firing = [name for name, query in alert_queries().items() if prometheus.query(query)]
    assert (empty, firing) == ([], [])


def test_no_query_takes_a_sum_that_ray_only_estimates() -> None:
    names = {name for query in QUERIES.values() for name in needs(query)}
    assert not [name for name in names if name.endswith("_sum")]


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name.removesuffix("_bucket") for q in panel_queries().values() for name in needs(q)}
    assert {metric.exported_name for metric in METRICS} <= shown


def test_only_the_public_port_listens_beyond_this_machine(guarded: Server) -> None:
    family = [psutil.Process(guarded.process.pid)]
    family += family[0].children(recursive=True)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    others = {(host, port) for host, port in listening if "127.0.0.1" not in host}
    assert others == {("0.0.0.0", httpx.URL(guarded.url).port)}


def test_the_endpoint_answers_for_metrics_only(guarded: Server) -> None:
    assert httpx.get(endpoint(guarded).replace("/metrics", "/")).status_code == 404
