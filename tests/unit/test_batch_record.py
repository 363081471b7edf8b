"""What a request's trace says about the batches of its windows."""

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.engine.batch_record import record_batch
from serve_app.engine.device import Backend
from serve_app.engine.queue import BatchLimits, Hearing, Job, Stage, Step
from serve_app.engine.request import Request
from serve_app.engine.scheduler import Scheduler
from serve_app.metrics import NO_METRICS
from serve_app.tracing.open_telemetry import OpenTelemetryTracer


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
    with tracer.span("mine") as mine, tracer.span("others") as others:
        requests = [Request(span=mine), Request(span=others), Request()]
        queued = [(0, 2.0), (1, 1.0), (0, 1.5), (2, 0.0)]
        step = Step(Stage.GENERATE)
        batch = [Job(requests[n], step, queued_at=queued_at) for n, queued_at in queued]
        record_batch(NO_METRICS, batch, slots=8, began=3.0, ended=4.0)
    tracer.flush()
    recorded, wait = (below(exported, "mine")[name] for name in ("generate", "wait for generate"))
    assert dict(recorded.attributes) == {
        "whisper_ox.batch.windows": 4,
        "whisper_ox.batch.requests": 3,
        "whisper_ox.batch.own_windows": 2,
    }
    assert [f"{link.context.trace_id:032x}" for link in recorded.links] == [others.trace_id]
    assert wait.end_time - wait.start_time == pytest.approx(1.5e9, abs=1_000)
    assert wait.end_time == recorded.start_time
    assert below(exported, "others")["generate"].start_time - recorded.start_time < 1e9


class Echo(Backend):
    """A backend that returns its payloads."""

    def run(
        self, stage: Stage, key: object, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        return payloads


def every_stage() -> Hearing:
    for stage in Stage:
        yield Step(stage, "k", seconds=30.0)


def test_the_scheduler_tells_of_every_stage(
    exported: InMemorySpanExporter, tracer: OpenTelemetryTracer
) -> None:
    scheduler = Scheduler(Echo(), BatchLimits(), workers=1)
    with tracer.span("mine") as mine:
        request = scheduler.open_request(span=mine)
        scheduler.hear(request, every_stage()).heard.result(timeout=10)
        scheduler.close_request(request)
    scheduler.stop()
    tracer.flush()
    stages = ("encode", "detect", "generate", "align")
    assert below(exported, "mine").keys() == {*stages, *(f"wait for {name}" for name in stages)}
