"""Spans that OpenTelemetry records and sends.

The tracer provider is our own. The global one belongs to Ray, which has its own traces and metrics.
Contexts are passed explicitly, because a request crosses event loops, threads and processes.
"""

import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as RecordedSpan
from opentelemetry.trace import Tracer as RecordingTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from serve_app import __version__
from serve_app.errors import InvalidSetting, WhisperOxError
from serve_app.tracing.span import NOTHING, Attributes, Kind, Span, Tracer

SERVICE_NAME: Final = "whisper-ox"

FLUSH_SECONDS: Final = 3.0
"""Seconds by which a collector that does not answer may delay the end of the server."""

MAX_STEPS: Final = 1000
"""Most steps of one span. Two hours of audio have about 600. The SDK itself drops spans when more
than 2048 wait to be sent."""

ERROR_TYPE: Final = "error.type"
STEPS_DROPPED: Final = "whisper_ox.steps_dropped"

_KINDS: Final[dict[Kind, SpanKind]] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_PARENTS: Final = TraceContextTextMapPropagator()


class OpenTelemetryTracer(Tracer):
    """Records the spans of one process and sends them from a thread of its own.

    Raises ``InvalidSetting`` if the variables ``OTEL_BSP_...`` contradict each other.
    """

    def __init__(self, exporter: SpanExporter, deployment: str) -> None:
        try:
            processor = BatchSpanProcessor(exporter)
        except ValueError as error:
            raise InvalidSetting(f"The variables OTEL_BSP_... cannot be used: {error}") from error
        self._provider = TracerProvider(resource=_resource(deployment), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("serve_app", __version__)

    @override
    def span(
        self,
        name: str,
        parent: str = "",
        kind: Kind = "server",
        attributes: Attributes = NOTHING,
    ) -> "OpenTelemetrySpan":
        above = _PARENTS.extract({"traceparent": parent}, Context())
        clock = _Clock.started()
        span = self._tracer.start_span(
            name, above, _KINDS[kind], attributes, start_time=clock.epoch_ns
        )
        return OpenTelemetrySpan(self._tracer, span, clock)

    @override
    def flush(self) -> None:
        # The SDK ignores a time limit here and tries until the exporter gives up.
        sending = threading.Thread(target=self._provider.force_flush, daemon=True)
        try:
            sending.start()
        except RuntimeError:  # the interpreter is about to end
            return
        sending.join(FLUSH_SECONDS)


@dataclass(frozen=True)
class _Clock:
    """Turns ``time.perf_counter()`` into nanoseconds since the epoch.

    All parts of a request use one clock, so they fit together even if the machine's clock is
    changed meanwhile.
    """

    epoch_ns: int
    began: float

    @classmethod
    def started(cls) -> "_Clock":
        return cls(time.time_ns(), time.perf_counter())

    def at(self, moment: float) -> int:
        return self.epoch_ns + round((moment - self.began) * 1e9)

    def now_ns(self) -> int:
        return self.at(time.perf_counter())


@dataclass(frozen=True)
class _Step:
    name: str
    began: float
    ended: float
    attributes: Attributes
    beside: tuple[SpanContext, ...]


class OpenTelemetrySpan(Span):
    """A span that OpenTelemetry has begun."""

    def __init__(self, tracer: RecordingTracer, span: RecordedSpan, clock: _Clock) -> None:
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._steps: list[_Step] = []
        self._n_dropped = 0
        self.context = span.get_span_context()
        self.is_recorded = span.is_recording()
        self.trace_id = format_trace_id(self.context.trace_id)
        self.traceparent = (
            f"00-{self.trace_id}-{format_span_id(self.context.span_id)}"
            f"-{self.context.trace_flags:02x}"
        )

    @override
    def child(self, name: str) -> "OpenTelemetrySpan":
        span = self._tracer.start_span(name, self._below(), start_time=self._clock.now_ns())
        return OpenTelemetrySpan(self._tracer, span, self._clock)

    @override
    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence[Span] = (),
    ) -> None:
        if not self.is_recorded:
            return
        if len(self._steps) >= MAX_STEPS:
            self._n_dropped += 1
            return
        mates = tuple(mate.context for mate in beside if isinstance(mate, OpenTelemetrySpan))
        self._steps.append(_Step(name, began, ended, attributes, mates))

    @override
    def rename(self, name: str) -> None:
        self._span.update_name(name)

    @override
    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    @override
    def fail(self, reason: str) -> None:
        self.note({ERROR_TYPE: reason})
        self._span.set_status(Status(StatusCode.ERROR))

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it. Only the code or class of an error is kept, because a message may quote a
        caller.
        """
        if isinstance(error, WhisperOxError) and error.status < 500:
            self.note({ERROR_TYPE: error.code})  # the request was wrong, the server did not fail
        elif isinstance(error, WhisperOxError):
            self.fail(error.code)
        elif isinstance(error, Exception):
            self.fail(type(error).__qualname__)
        elif error is not None:
            self.note({ERROR_TYPE: type(error).__qualname__})  # the client left, or a signal came
        if self._n_dropped:
            self.note({STEPS_DROPPED: self._n_dropped})
        steps, self._steps = self._steps, []
        for step in steps:
            self._record(step)
        self._span.end(self._clock.now_ns())

    def _record(self, step: _Step) -> None:
        self._tracer.start_span(
            step.name,
            self._below(),
            attributes=step.attributes,
            links=[Link(context) for context in step.beside],
            start_time=self._clock.at(step.began),
        ).end(self._clock.at(step.ended))

    def _below(self) -> Context:
        return set_span_in_context(self._span, Context())


def _resource(deployment: str) -> Resource:
    ours: dict[str, str | int] = {
        "service.name": SERVICE_NAME,
        "service.version": __version__,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "whisper_ox.deployment": deployment,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())
