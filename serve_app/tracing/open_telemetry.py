"""Spans as OpenTelemetry records and sends them.

The tracer provider is our own: the global one is left to Ray, which has traces and metrics of its
own, and contexts are passed by hand, for a request crosses event loops, threads and processes.
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

from serve_app import __version__
from serve_app.errors import InvalidSetting, WhisperOxError
from serve_app.tracing.span import NOTHING, Attributes, Kind, Span

SERVICE_NAME: Final = "whisper-ox"

FLUSH_SECONDS: Final = 3.0
"""A collector that does not answer holds the server's end up for no longer."""

MAX_STEPS: Final = 1000
"""Of one span, so that a day of audio is no burden: two hours have some 600. The SDK itself drops
what waits beyond 2048 spans."""

ERROR_TYPE: Final = "error.type"
STEPS_DROPPED: Final = "whisper_ox.steps_dropped"

_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_PARENTS: Final = TraceContextTextMapPropagator()


class OpenTelemetryTracer:
    """Records the spans of one process; :class:`serve_app.tracing.span.Tracer`.

    They are sent from a thread of its own. Raises ``InvalidSetting`` where the variables
    ``OTEL_BSP_...`` contradict each other.
    """

    def __init__(self, exporter: SpanExporter, deployment: str) -> None:
        try:
            processor = BatchSpanProcessor(exporter)
        except ValueError as error:
            raise InvalidSetting(f"The variables OTEL_BSP_... cannot be used: {error}") from error
        self._provider = TracerProvider(resource=_resource(deployment), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("serve_app", __version__)

    def span(
        self,
        name: str,
        parent: str = "",
        kind: Kind = "internal",
        attributes: Attributes = NOTHING,
    ) -> "OpenTelemetrySpan":
        """See :class:`serve_app.tracing.span.Tracer`."""
        above = _PARENTS.extract({"traceparent": parent}, Context())
        return OpenTelemetrySpan(
            self._tracer,
            name,
            above=above,
            clock=_Clock.now(),
            kind=_KINDS[kind],
            attributes=attributes,
        )

    def flush(self) -> None:
        """See :class:`serve_app.tracing.span.Tracer`."""
        # The SDK heeds no time limit here: it tries until the exporter gives up.
        sending = threading.Thread(target=self._provider.force_flush, daemon=True)
        try:
            sending.start()
        except RuntimeError:  # the interpreter is about to end
            return
        sending.join(FLUSH_SECONDS)


@dataclass(frozen=True)
class _Clock:
    """Turns ``time.perf_counter()`` into the epoch's nanoseconds; one for a whole request, so that
    its parts fit together whatever is done to the machine's clock meanwhile.
    """

    epoch_ns: int
    began: float

    @classmethod
    def now(cls) -> "_Clock":
        return cls(time.time_ns(), time.perf_counter())

    def at(self, moment: float) -> int:
        return self.epoch_ns + round((moment - self.began) * 1e9)


@dataclass(frozen=True)
class _Step:
    name: str
    began: float
    ended: float
    attributes: Attributes
    beside: tuple[SpanContext, ...]


class OpenTelemetrySpan:
    """:class:`serve_app.tracing.span.Span`; it begins when it is made."""

    def __init__(
        self,
        tracer: RecordingTracer,
        name: str,
        *,
        above: Context,
        clock: _Clock,
        kind: SpanKind,
        attributes: Attributes,
    ) -> None:
        self._tracer = tracer
        self._clock = clock
        self._span: RecordedSpan = tracer.start_span(
            name, above, kind, attributes, start_time=clock.at(time.perf_counter())
        )
        self._steps: list[_Step] = []
        self._n_dropped = 0
        self.context = self._span.get_span_context()
        self.is_recorded = self._span.is_recording()
        self.trace_id = format_trace_id(self.context.trace_id)
        self.traceparent = (
            f"00-{self.trace_id}-{format_span_id(self.context.span_id)}"
            f"-{self.context.trace_flags:02x}"
        )

    def child(self, name: str, attributes: Attributes = NOTHING) -> "OpenTelemetrySpan":
        """See :class:`serve_app.tracing.span.Span`."""
        return OpenTelemetrySpan(
            self._tracer,
            name,
            above=self._below(),
            clock=self._clock,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
        )

    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence[Span] = (),
    ) -> None:
        """See :class:`serve_app.tracing.span.Span`."""
        if not self.is_recorded:
            return
        if len(self._steps) >= MAX_STEPS:
            self._n_dropped += 1
            return
        mates = tuple(mate.context for mate in beside if isinstance(mate, OpenTelemetrySpan))
        self._steps.append(_Step(name, began, ended, attributes, mates))

    def rename(self, name: str) -> None:
        """See :class:`serve_app.tracing.span.Span`."""
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """See :class:`serve_app.tracing.span.Span`."""
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """See :class:`serve_app.tracing.span.Span`."""
        self.note({ERROR_TYPE: reason})
        self._span.set_status(Status(StatusCode.ERROR))

    def __enter__(self) -> "OpenTelemetrySpan":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it. Of an error only the code or the class is kept: messages may quote a caller."""
        if error is not None:
            reason, is_failure = _verdict(error)
            self.note({ERROR_TYPE: reason})
            if is_failure:
                self.fail(reason)
        if self._n_dropped:
            self.note({STEPS_DROPPED: self._n_dropped})
        steps, self._steps = self._steps, []
        for step in steps:
            self._record(step)
        self._span.end(self._clock.at(time.perf_counter()))

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


def _verdict(error: BaseException) -> tuple[str, bool]:
    """What to call an error, and whether it is a failure of the server.

    A wrong request and a client that leaves are none.
    """
    if isinstance(error, WhisperOxError):
        return error.code, error.status >= 500
    return type(error).__qualname__, isinstance(error, Exception)


def _resource(deployment: str) -> Resource:
    """Who sends the spans; what the environment says of it goes first."""
    ours: dict[str, str | int] = {
        "service.name": SERVICE_NAME,
        "service.version": __version__,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "whisper_ox.deployment": deployment,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())
