"""Traces: when there are any, what is in them, and where they go."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from serve_app.errors import InvalidOption, InvalidSetting, NotReady
from serve_app.tracing import (
    DISABLED_VARIABLE,
    ENDPOINT_VARIABLES,
    EXPORTER_VARIABLE,
    PROTOCOL_VARIABLES,
    open_telemetry,
    tracer_of,
    wants_traces,
)
from serve_app.tracing.open_telemetry import MAX_STEPS, OpenTelemetryTracer
from serve_app.tracing.span import NO_SPAN, NO_TRACER
from tests.collector import collector

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CALLER}-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}

Exported = InMemorySpanExporter


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the environment variables of the person who runs the tests."""
    for name in (
        *(DISABLED_VARIABLE, EXPORTER_VARIABLE),
        *(*ENDPOINT_VARIABLES, *PROTOCOL_VARIABLES),
        *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: Exported) -> OpenTelemetryTracer:
    return OpenTelemetryTracer(exported, "Ingress")


def spans(tracer: OpenTelemetryTracer, exported: Exported) -> dict[str, Any]:
    """What has ended, by name."""
    tracer.flush()
    return {span.name: span for span in exported.get_finished_spans()}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", **ENDPOINT}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "otlp", **ENDPOINT}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **ENDPOINT}, True),
    ],
)
def test_the_standard_variables_turn_traces_on(
    given: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert wants_traces() is wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
    ],
)
def test_a_value_that_cannot_work_stops_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSetting, match=name) as refusal:
        wants_traces()
    assert (value in refusal.value.message) is not name.endswith("ENDPOINT")


def test_while_off_no_sdk_of_opentelemetry_is_loaded() -> None:
    program = (
        "import sys, serve_app.api.app, serve_app.engine.scheduler\n"
        "from serve_app.tracing import tracer_of\n"
        "print(type(tracer_of('Ingress')).__name__, 'opentelemetry.sdk.trace' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout.split() == [b"Tracer", b"False"]


def test_while_off_every_part_of_a_request_is_the_same_nothing() -> None:
    with NO_TRACER.span("POST", PARENT) as span, span.child("decode audio") as child:
        assert child is span is NO_SPAN
    assert (span.traceparent, span.trace_id, span.is_recorded) == ("", "", False)


def test_spans_reach_the_collector_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        tracer = tracer_of("Ingress")
        with tracer.span("POST", PARENT, "server", {"n": 1}) as span, span.child("decode audio"):
            pass
        assert collected.paths == []
        tracer.flush()
    child, root = collected.spans
    assert collected.paths == ["/v1/traces"]
    assert (root.name, root.trace_id, root.parent_id) == ("POST", TRACE, CALLER)
    assert (child.name, child.trace_id, child.parent_id) == ("decode audio", TRACE, root.span_id)
    assert (root.attributes, root.resource["whisper_ox.deployment"]) == ({"n": 1}, "Ingress")
    assert root.resource["service.name"] == "whisper-ox"


def test_the_environment_may_name_the_service(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "dictation")
    tracer = OpenTelemetryTracer(exported, "Ingress")
    with tracer.span("POST"):
        pass
    assert spans(tracer, exported)["POST"].resource.attributes["service.name"] == "dictation"


def test_a_step_is_placed_by_its_own_times(tracer: OpenTelemetryTracer, exported: Exported) -> None:
    with tracer.span("transcribe") as span:
        began = time.perf_counter()
        span.step("vad", began + 0.25, began + 1.5)
    found = spans(tracer, exported)
    vad, whole = found["vad"], found["transcribe"]
    assert vad.end_time - vad.start_time == pytest.approx(1.25e9, abs=1_000)
    assert vad.start_time >= whole.start_time + 250_000_000
    assert vad.parent.span_id == whole.context.span_id


def test_a_step_links_those_it_was_shared_with(
    tracer: OpenTelemetryTracer, exported: Exported
) -> None:
    with tracer.span("other") as other, tracer.span("transcribe") as span:
        span.step("encode", 0.0, 1.0, beside=[other, NO_SPAN])
    found = spans(tracer, exported)
    assert [link.context for link in found["encode"].links] == [found["other"].context]
    assert found["encode"].context.trace_id != found["other"].context.trace_id


def test_steps_beyond_the_limit_are_counted_only(
    tracer: OpenTelemetryTracer, exported: Exported
) -> None:
    with tracer.span("transcribe") as span:
        for _ in range(MAX_STEPS + 7):
            span.step("encode", 0.0, 1.0)
    tracer.flush()
    finished = exported.get_finished_spans()
    assert len(finished) == MAX_STEPS + 1
    assert finished[-1].attributes == {"whisper_ox.steps_dropped": 7}


@pytest.mark.parametrize(
    ("error", "kind", "is_failure"),
    [
        (InvalidOption("no such language", field="language"), "invalid_option", False),
        (NotReady("no replica"), "not_ready", True),
        (KeyError("what was said"), "KeyError", True),
        (KeyboardInterrupt(), "KeyboardInterrupt", False),
    ],
)
def test_of_an_error_its_kind_is_kept_and_no_message(
    tracer: OpenTelemetryTracer,
    exported: Exported,
    error: BaseException,
    kind: str,
    is_failure: bool,
) -> None:
    with pytest.raises(type(error)), tracer.span("transcribe"):
        raise error
    span = spans(tracer, exported)["transcribe"]
    assert (span.attributes, span.events) == ({"error.type": kind}, ())
    assert (span.status.status_code is StatusCode.ERROR) is is_failure
    assert span.status.description is None


def test_a_caller_that_does_not_sample_is_obeyed(
    tracer: OpenTelemetryTracer, exported: Exported
) -> None:
    with tracer.span("POST", f"00-{TRACE}-{CALLER}-00") as span, span.child("decode audio"):
        span.step("encode", 0.0, 1.0)
        assert span.traceparent.endswith("-00")
        assert not span.is_recorded
    assert spans(tracer, exported) == {}


@pytest.mark.parametrize(
    "parent", ["", "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01", "0" * 9_000]
)
def test_a_parent_that_is_none_begins_a_trace(tracer: OpenTelemetryTracer, parent: str) -> None:
    span = tracer.span("POST", parent)
    assert int(span.trace_id, 16)
    assert span.trace_id != TRACE
    assert span.is_recorded


def test_the_global_provider_is_left_to_ray(tracer: OpenTelemetryTracer) -> None:
    with tracer.span("POST"):
        assert not trace.get_current_span().get_span_context().is_valid
        assert not trace.get_tracer("ray").start_span("task").is_recording()


class Stuck(SpanExporter):
    """Waits for a collector that does not answer until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.over.wait()
        return SpanExportResult.FAILURE


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    exporter = Stuck()
    yield exporter
    exporter.over.set()


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(
    stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_telemetry, "FLUSH_SECONDS", 0.01)
    tracer = OpenTelemetryTracer(stuck, "Ingress")
    with tracer.span("POST"):
        pass
    tracer.flush()
    assert not stuck.over.is_set()
