"""How the rest of the server times the parts of a request.

``api/`` and ``engine/`` know this file only, which knows nothing of OpenTelemetry. Everything here
does nothing, as is right while traces are off; :mod:`serve_app.tracing.open_telemetry` records.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal

Kind = Literal["internal", "server", "client"]
"""Client and server are the two ends of a call from one process to another."""

Attributes = Mapping[str, str | int | float | bool]
"""Sizes, times, names and codes, but nothing of audio, text, prompts, keys or query strings."""

NOTHING: Final[Attributes] = {}

REQUEST_ID: Final = "whisper_ox.request_id"
AUDIO_SECONDS: Final = "whisper_ox.audio_seconds"


class Span:
    """A timed part of a request. Leaving its block ends it, with the error that leaves the block.

    The methods may be called from any thread.
    """

    is_recorded: bool = False
    """Whether anybody will see it."""

    traceparent: str = ""
    """Its place in the trace in W3C's form, for a child elsewhere; "" while traces are off."""

    trace_id: str = ""
    """32 hexadecimal digits; "" while traces are off."""

    def child(self, name: str, attributes: Attributes = NOTHING) -> "Span":
        """A part of this part, which begins now."""
        return self

    def step(
        self,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes = NOTHING,
        beside: Sequence["Span"] = (),
    ) -> None:
        """A part that is over, by ``time.perf_counter()``. ``beside``: whose work it did as well.

        Takes a few microseconds; the cost of recording it comes when this span ends.
        """

    def rename(self, name: str) -> None:
        """Give it the name of what it turned out to be."""

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
        kind: Kind = "internal",
        attributes: Attributes = NOTHING,
    ) -> Span:
        """``parent`` is a W3C ``traceparent``; anything else begins a trace of its own."""
        return NO_SPAN

    def flush(self) -> None:
        """Send what has ended so far; returns after a few seconds at the latest."""


NO_SPAN: Final = Span()
NO_TRACER: Final = Tracer()
