"""What the rest of the server knows of traces: how to time a part of a request.

``api/`` and ``engine/`` know this file only, which knows nothing of OpenTelemetry;
:mod:`serve_app.tracing.open_telemetry` records. While traces are off everything here does nothing.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Protocol

Kind = Literal["internal", "server", "client"]
"""Client and server are the two ends of a call from one process to another."""

Attributes = Mapping[str, str | int | float | bool]
"""Sizes, times, names and codes. Nothing of audio, text, prompts, keys or query strings."""

NOTHING: Final[Attributes] = {}

REQUEST_ID: Final = "whisper_ox.request_id"
AUDIO_SECONDS: Final = "whisper_ox.audio_seconds"


class Span(Protocol):
    """A timed part of a request; leaving its block ends it, with the error that leaves it.

    The methods may be called from any thread.
    """

    @property
    def is_recorded(self) -> bool:
        """Whether anybody will see it."""
        ...

    @property
    def traceparent(self) -> str:
        """Its place in the trace in W3C's form, for a child elsewhere; "" while traces are off."""
        ...

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; "" while traces are off."""
        ...

    def child(self, name: str, attributes: Attributes = NOTHING) -> "Span":
        """A part of this part; it begins now."""
        ...

    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence["Span"] = (),
    ) -> None:
        """A part that is over, by ``time.perf_counter()``. ``beside``: whose work was done in it.

        Takes a few microseconds; what it costs to record comes with the end of this span.
        """
        ...

    def rename(self, name: str) -> None:
        """Call it what it turned out to be."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add or replace attributes."""
        ...

    def fail(self, reason: str) -> None:
        """Mark it as a failure of the server; ``reason`` is a code or a class."""
        ...

    def __enter__(self) -> "Span": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Tracer(Protocol):
    """Begins spans that have no parent in this process."""

    def span(
        self,
        name: str,
        parent: str = "",
        kind: Kind = "internal",
        attributes: Attributes = NOTHING,
    ) -> Span:
        """``parent``: a W3C ``traceparent``; a trace of its own begins where it is none."""
        ...

    def flush(self) -> None:
        """Send what has ended so far; returns after a few seconds at the latest."""
        ...


class NoSpan:
    """The span of a request that nobody traces."""

    is_recorded = False
    traceparent = ""
    trace_id = ""

    def child(self, name: str, attributes: Attributes = NOTHING) -> Span:
        """Itself."""
        return self

    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence[Span] = (),
    ) -> None:
        """Forget it."""

    def rename(self, name: str) -> None:
        """Forget it."""

    def note(self, attributes: Attributes) -> None:
        """Forget it."""

    def fail(self, reason: str) -> None:
        """Forget it."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class NoTracer:
    """The tracer of a server that is not asked for traces."""

    def span(
        self,
        name: str,
        parent: str = "",
        kind: Kind = "internal",
        attributes: Attributes = NOTHING,
    ) -> Span:
        """No span."""
        return NO_SPAN

    def flush(self) -> None:
        """There is nothing to send."""


NO_SPAN: Final[Span] = NoSpan()
NO_TRACER: Final[Tracer] = NoTracer()
