"""How the rest of the server times the parts of a request.

These classes do nothing, which is right while traces are off. Their subclasses in
:mod:`serve_app.tracing.open_telemetry` record.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal

Kind = Literal["server", "client"]
"""The two ends of a call from one process to another."""

Attributes = Mapping[str, str | int | float | bool]
"""Sizes, times, names and codes. Never audio, text, prompts, keys or query strings."""

NOTHING: Final[Attributes] = {}

REQUEST_ID: Final = "whisper_ox.request_id"
AUDIO_SECONDS: Final = "whisper_ox.audio_seconds"


class Span:
    """A timed part of a request. Leaving its block ends it, with the error that leaves the block.

    The methods may be called from any thread.
    """

    is_recorded: bool = False
    traceparent: str = ""
    """Its place in the trace in W3C's form, for a child in another process; "" while traces are
    off.
    """
    trace_id: str = ""
    """32 hexadecimal digits; "" while traces are off."""

    def child(self, name: str) -> "Span":
        """A child span that begins now."""
        return self

    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence["Span"] = (),
    ) -> None:
        """Add a child span that is over. ``began`` and ``ended`` are ``time.perf_counter()``.

        ``beside`` are the spans of other requests for which the same work was done. This takes a
        few microseconds. The child is recorded when this span ends.
        """

    def rename(self, name: str) -> None:
        """Replace its name."""

    def note(self, attributes: Attributes) -> None:
        """Add or replace attributes."""

    def fail(self, reason: str) -> None:
        """Mark it as a failure of the server; ``reason`` is an error code or a class."""

    def __enter__(self) -> "Span":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class Tracer:
    """Begins spans that have no parent in this process."""

    def span(
        self,
        name: str,
        parent: str = "",
        kind: Kind = "server",
        attributes: Attributes = NOTHING,
    ) -> Span:
        """Begin a span. ``parent`` is a W3C ``traceparent``; anything else begins a new trace."""
        return NO_SPAN

    def flush(self) -> None:
        """Send the spans that have ended. Returns after a few seconds at most."""


NO_SPAN: Final = Span()
NO_TRACER: Final = Tracer()
