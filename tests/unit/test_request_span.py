"""What the trace of an HTTP request says, and what it keeps to itself."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.api.edge.edge import Edge
from serve_app.api.edge.state import RequestState
from serve_app.errors import NotReady, UnsupportedAudio
from serve_app.tracing.open_telemetry import OpenTelemetryTracer
from tests.unit.asgi import Answer, asked, edge_parts, http_scope

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "hunter2"


async def transcribe(request: Request) -> PlainTextResponse:
    """Answers with what the service would be told."""
    state = RequestState.of(request.scope)
    state.log = {"audio_s": 1.5}
    return PlainTextResponse(state.span.traceparent)


class Traced:
    """An application behind an edge that traces."""

    def __init__(self, app: ASGIApp) -> None:
        self._exported = InMemorySpanExporter()
        self._tracer = OpenTelemetryTracer(self._exported, "Ingress")
        self._edge = Edge(app, **edge_parts(tracer=self._tracer))

    def ask(self, path: str = "/transcribe/7", **headers: str) -> Answer:
        sent = [(name, value.encode()) for name, value in headers.items()]
        scope = {**http_scope(path, headers=sent), "query_string": f"key={SECRET}".encode()}
        return asked(self._edge, scope)

    @property
    def spans(self) -> tuple[Any, ...]:
        self._tracer.flush()
        return self._exported.get_finished_spans()


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)


@pytest.fixture
def routed() -> Iterator[Traced]:
    yield Traced(Router([Route("/transcribe/{n}", transcribe, methods=["POST"])]))


def failing(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


def test_a_request_is_one_span_under_its_caller(routed: Traced) -> None:
    answer = routed.ask(traceparent=f"00-{TRACE}-{CALLER}-01")
    [span] = routed.spans
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == CALLER
    assert answer.body.decode().startswith(f"00-{TRACE}-{span.context.span_id:016x}-")


def test_it_has_the_attributes_of_the_conventions_and_ours(routed: Traced) -> None:
    routed.ask(**{"x-request-id": "told-1"})
    [span] = routed.spans
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/transcribe/{n}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "whisper_ox.request_id": "told-1",
        "whisper_ox.audio_seconds": 1.5,
    }
    assert span.name == "POST /transcribe/{n}"
    assert span.status.status_code is StatusCode.UNSET


def test_no_query_header_or_path_of_nobody_is_in_it(routed: Traced) -> None:
    headers = {"x-api-key": SECRET, "authorization": f"Bearer {SECRET}", "user-agent": SECRET}
    routed.ask(**headers)
    routed.ask(f"/{SECRET}", **headers)
    first, second = routed.spans
    assert SECRET not in first.to_json() + second.to_json()


def test_probes_are_not_traced(routed: Traced) -> None:
    routed.ask("/health")
    routed.ask("/readyz")
    assert routed.spans == ()


@pytest.mark.parametrize(
    ("error", "status", "is_failure"),
    [
        (UnsupportedAudio("no audio"), 415, False),
        (NotReady("no replica"), 503, True),
        (LookupError(SECRET), 500, True),
    ],
)
def test_failures_of_the_server_are_marked_and_not_those_of_callers(
    error: Exception, status: int, is_failure: bool
) -> None:
    traced = Traced(failing(error))
    code = traced.ask().error["code"]
    [span] = traced.spans
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["whisper_ox.error_code"] == code
    assert (span.status.status_code is StatusCode.ERROR) is is_failure
    assert SECRET not in span.to_json()


FASTAPIS_OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serve_app.api.app import build_api
from serve_app.settings import ApiKey, AppSettings
from tests.unit.asgi import asked, http_scope
from tests.unit.deaf_service import DeafService

exported = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exported))
answer = asked(build_api(DeafService(), AppSettings(), ApiKey()), http_scope("/health", "GET"))
print(answer.status, len(exported.get_finished_spans()))
"""


def test_the_framework_has_no_telemetry_of_its_own() -> None:
    """In a process of its own, whose global provider is set, as Ray's tracing would."""
    answer = subprocess.run([sys.executable, "-c", FASTAPIS_OWN], capture_output=True, check=True)
    assert answer.stdout.split() == [b"200", b"0"]
