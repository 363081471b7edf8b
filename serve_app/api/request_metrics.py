"""What is measured of every request, whatever its protocol."""

from starlette.types import Scope

from serve_app.metrics import catalogue as metrics

NO_KEY = "anonymous"
OTHER = "other"
"""Paths that were not routed, and odd methods: a client can make up any number of them."""

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class RequestMetrics:
    """Counts the requests of one replica. Not thread-safe: for its event loop."""

    def __init__(self, sink: metrics.Sink) -> None:
        self._sink = sink
        self._in_flight = 0
        sink.set(metrics.REQUESTS_IN_FLIGHT, 0)

    def begin(self) -> None:
        """A request's head has come."""
        self._note_in_flight(+1)

    def end(self, scope: Scope, status: int, seconds: float, first_byte_seconds: float) -> None:
        """Its answer is out, or it has gone: ``status`` 0.

        ``first_byte_seconds`` counts from the head too; it matters only with a status.
        """
        self._note_in_flight(-1)
        state = scope["state"]
        method = scope.get("method", "GET")  # a WebSocket begins with one
        route: str = getattr(scope.get("route"), "path", OTHER)
        self._sink.count(
            metrics.REQUESTS,
            method=method if method in METHODS else OTHER,
            route=route,
            status=str(status or "gone"),
            key=state.get("key_name") or NO_KEY,
        )
        self._sink.observe(metrics.REQUEST_SECONDS, seconds, route=route)
        if status:
            self._sink.observe(metrics.FIRST_BYTE_SECONDS, first_byte_seconds, route=route)
        if status >= 400:
            reason = state.get("error_code", f"http_{status}")
            self._sink.count(metrics.REJECTED, reason=reason, route=route)

    def _note_in_flight(self, change: int) -> None:
        self._in_flight += change
        self._sink.set(metrics.REQUESTS_IN_FLIGHT, self._in_flight)
