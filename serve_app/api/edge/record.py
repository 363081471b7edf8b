"""Records every request, whatever its protocol: metrics, a span and one line in the log.

The span follows OpenTelemetry's semantic conventions (HTTP, stable). It is the parent of the
request's other spans: in this process by ``RequestState.span``, in others by
``Caller.traceparent``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from starlette.types import Scope

from serve_app import metrics
from serve_app.api.edge.state import METHODS, PROBES, SHOWN_CHARACTERS, RequestState
from serve_app.logs import fields, request_scope
from serve_app.tracing.span import AUDIO_SECONDS, NO_SPAN, NO_TRACER, REQUEST_ID, Span, Tracer

logger = logging.getLogger("whisper_ox.access")

OTHER = "other"
"""The label of paths without a route and of unusual methods, of which clients can invent any
number."""

CLIENT_LEFT = 499
"""The logged status of a request whose client left before the answer; the number is nginx's."""


class Recorder:
    """Records the requests of one replica. Not thread-safe: it belongs to one event loop."""

    def __init__(self, sink: metrics.Sink, tracer: Tracer) -> None:
        self._sink = sink
        self._tracer = tracer
        self._in_flight = 0
        self._note_in_flight(0)

    @contextmanager
    def recording(self, scope: Scope, state: RequestState) -> Iterator[None]:
        """Record a request that is served in the block."""
        method = scope.get("method", "GET")  # a WebSocket begins with a GET
        method = method if method in METHODS else OTHER
        state.span = self._span(scope, state, method)
        with state.span, request_scope(state.request_id, state.span.trace_id):
            self._note_in_flight(+1)
            try:
                yield
            finally:
                self._note_in_flight(-1)
                route: str | None = getattr(scope.get("route"), "path", None)
                is_http = scope["type"] == "http"
                self._measure(state, method, route or OTHER, is_http=is_http)
                if state.span.is_recorded:
                    _describe(state, method, route)
                _log(scope, state)

    def _note_in_flight(self, change: int) -> None:
        self._in_flight += change
        self._sink.set(metrics.REQUESTS_IN_FLIGHT, self._in_flight)

    def _span(self, scope: Scope, state: RequestState, method: str) -> Span:
        """A span under the caller's, if there is one. Probes are not traced."""
        if self._tracer is NO_TRACER or state.path in PROBES:
            return NO_SPAN
        # W3C Trace Context says that a malformed value is ignored.
        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        known = {
            "http.request.method": _traced(method),
            "url.scheme": scope.get("scheme", "http"),
            REQUEST_ID: state.request_id,
        }
        return self._tracer.span(_traced(method), parent, "server", known)

    def _measure(self, state: RequestState, method: str, route: str, *, is_http: bool) -> None:
        status, key = str(state.status or "gone"), state.key_name or metrics.NO_KEY
        self._sink.count(metrics.REQUESTS, method=method, route=route, status=status, key=key)
        if is_http:  # people speak on a WebSocket for as long as they like
            self._sink.observe(metrics.REQUEST_SECONDS, state.seconds, route=route)
        if state.status:
            self._sink.observe(metrics.FIRST_BYTE_SECONDS, state.first_byte_seconds, route=route)
        if state.status >= 400:
            reason = state.error_code or f"http_{state.status}"
            self._sink.count(metrics.REJECTED, reason=reason, route=route)


def _traced(method: str) -> str:
    return "_OTHER" if method == OTHER else method


def _describe(state: RequestState, method: str, route: str | None) -> None:
    span = state.span
    if route is not None:
        span.rename(f"{_traced(method)} {route}")
        span.note({"http.route": route})
    if isinstance(audio_seconds := state.log.get("audio_s"), float):
        span.note({AUDIO_SECONDS: audio_seconds})
    if state.error_code:
        span.note({"whisper_ox.error_code": state.error_code})
    if state.status:
        span.note({"http.response.status_code": state.status})
    else:
        span.note({"error.type": "client_left"})
    if state.status >= 500:
        span.fail(str(state.status))


def _log(scope: Scope, state: RequestState) -> None:
    # A probe that found nothing wrong is not worth a line every few seconds.
    level = logging.DEBUG if state.path in PROBES and state.status == 200 else logging.INFO
    shown = {
        "method": scope.get("method", "WS"),
        # As it was sent, without spaces and quotes: a path must not look like the rest of a line.
        "path": quote(scope["path"], safe="/:@!$&'()*+,;=", errors="replace")[:SHOWN_CHARACTERS],
        "status": state.status or CLIENT_LEFT,
        "duration_ms": round(state.seconds * 1000, 1),
    }
    more = {
        "body_bytes": state.body_bytes,
        "key_name": state.key_name,
        "error_code": state.error_code,
    }
    extra = fields(**{name: value for name, value in more.items() if value}, **state.log)
    logger.log(level, "%(method)s %(path)s %(status)d %(duration_ms).0fms", shown, extra=extra)
