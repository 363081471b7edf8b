"""What each batch adds to the traces of the requests that took part in it."""

from collections.abc import Sequence

from serve_app.tracing.span import Span


class BatchTrace:
    """The spans of open requests; those that nobody traces are not in it, which costs nothing."""

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}

    def __bool__(self) -> bool:
        return bool(self._spans)

    def open(self, request: int, span: Span) -> None:
        """Add to ``span`` from now on, if it is recorded."""
        if span.is_recorded:
            self._spans[request] = span

    def close(self, request: int) -> None:
        """Forget a request."""
        self._spans.pop(request, None)

    def record(
        self, stage: str, windows: Sequence[tuple[int, float]], began: float, ended: float
    ) -> None:
        """A batch of ``stage`` is over. ``windows``: request and time of queueing of each.

        A request gets its longest wait and the batch, linked to those it shared the batch with.
        """
        queued: dict[int, float] = {}
        for request, moment in windows:
            queued[request] = min(moment, queued.get(request, moment))
        present = {
            request: span
            for request in queued
            if (span := self._spans.get(request)) is not None  # another thread may close it
        }
        for request, span in present.items():
            own = sum(1 for taken, _ in windows if taken == request)
            span.step(f"wait for {stage}", queued[request], began)
            span.step(
                stage,
                began,
                ended,
                {
                    "whisper_ox.batch.windows": len(windows),
                    "whisper_ox.batch.requests": len(queued),
                    "whisper_ox.batch.own_windows": own,
                },
                beside=[mate for mate in present.values() if mate is not span],
            )
