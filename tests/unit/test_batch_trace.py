"""What a request's trace says of the batches its windows were in."""

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serve_app.engine.batch_trace import BatchTrace
from serve_app.engine.policy import BatchLimits, Stage

from serve_app.engine.scheduler import Scheduler
from serve_app.tracing.open_telemetry import OpenTelemetryTracer
from serve_app.tracing.span import NO_SPAN

MINE, OTHERS, UNTRACED = 1, 2, 3


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: InMemorySpanExporter) -> OpenTelemetryTracer:
    return OpenTelemetryTracer(exported, "Transcriber")


def below(exported: InMemorySpanExporter, root: str) -> dict[str, Any]:
    """The children of a root by name."""
    finished = exported.get_finished_spans()
    [parent] = [span.context for span in finished if span.name == root]
    return {s.name: s for s in finished if s.parent and s.parent.span_id == parent.span_id}


def test_each_request_of_a_batch_gets_it_with_a_link_to_the_others(
    exported: InMemorySpanExporter, tracer: OpenTelemetryTracer
) -> None:
    trace = BatchTrace()
    with tracer.span("mine") as mine, tracer.span("others") as others:
        trace.open(MINE, mine)
        trace.open(OTHERS, others)
        trace.record("generate", [(MINE, 2.0), (OTHERS, 1.0), (MINE, 1.5), (UNTRACED, 0)], 3.0, 4.0)
    tracer.flush()
    batch, wait = (below(exported, "mine")[name] for name in ("generate", "wait for generate"))
    assert dict(batch.attributes) == {
        "whisper_ox.batch.windows": 4,
        "whisper_ox.batch.requests": 3,
        "whisper_ox.batch.own_windows": 2,
    }
    assert [f"{link.context.trace_id:032x}" for link in batch.links] == [others.trace_id]
    assert wait.end_time - wait.start_time == pytest.approx(1.5e9, abs=1_000)
    assert wait.end_time == batch.start_time
    assert below(exported, "others")["generate"].start_time - batch.start_time < 1e9


def test_requests_that_nobody_traces_are_not_kept(tracer: OpenTelemetryTracer) -> None:
    trace = BatchTrace()
    trace.open(UNTRACED, NO_SPAN)
    assert not trace
    trace.open(MINE, tracer.span("mine"))
    assert trace
    trace.close(MINE)
    assert not trace


class Echo:
    """Returns what it gets."""

    def run(
        self, stage: Stage, key: object, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        return payloads


def test_the_scheduler_tells_of_every_stage(
    exported: InMemorySpanExporter, tracer: OpenTelemetryTracer
) -> None:
    scheduler = Scheduler(Echo(), BatchLimits(), workers=1)
    with tracer.span("mine") as mine:
        request = scheduler.open_request(span=mine)
        window = scheduler.encode(request, "k", 1, seconds=30.0)
        for stage in (Stage.DETECT, Stage.GENERATE, Stage.ALIGN):
            scheduler.decode(window, stage, "k", None).result(timeout=10)
        scheduler.close_request(request)
    scheduler.stop()
    tracer.flush()
    stages = ("encode", "detect", "generate", "align")
    assert below(exported, "mine").keys() == {*stages, *(f"wait for {name}" for name in stages)}
