"""The span of an HTTP request, by OpenTelemetry's semantic conventions (HTTP, stable).

What follows of the request hangs on it: in this process by :func:`span_of`, in others by
``Caller.traceparent``.
"""

from starlette.requests import Request
from starlette.types import Scope

from serve_app.api.request_metrics import METHODS
from serve_app.tracing.span import AUDIO_SECONDS, NO_SPAN, NO_TRACER, REQUEST_ID, Span, Tracer

TRACEPARENT_HEADER = "traceparent"
"""W3C Trace Context; what is none is ignored, as it says."""

CLIENT_LEFT = "client_left"

_OTHER_METHOD = "_OTHER"


def begin_span(tracer: Tracer, scope: Scope) -> Span:
    """The span of a request whose head has come, under the caller's if it sent one.

    ``scope`` already has its request id.
    """
    if tracer is NO_TRACER:
        return NO_SPAN
    sent = dict(scope["headers"]).get(TRACEPARENT_HEADER.encode(), b"").decode("latin-1")
    method = _method(scope)
    span = tracer.span(
        method,
        sent,
        "server",
        {
            "http.request.method": method,
            "url.scheme": scope.get("scheme", "http"),
            REQUEST_ID: scope["state"]["request_id"],
        },
    )
    scope["state"]["span"] = span
    return span


def note_answer(scope: Scope, status: int) -> None:
    """The answer to a request is out, or its client has left: ``status`` 0."""
    state = scope["state"]
    span: Span = state.get("span", NO_SPAN)
    if not span.is_recorded:
        return
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.rename(f"{_method(scope)} {route}")
        span.note({"http.route": route})
    if "audio_s" in (told := state.get("log", {})):
        span.note({AUDIO_SECONDS: told["audio_s"]})
    if "error_code" in state:
        span.note({"whisper_ox.error_code": state["error_code"]})
    if not status:
        span.note({"error.type": CLIENT_LEFT})
        return
    span.note({"http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))


def span_of(request: Request) -> Span:
    """The span that :class:`serve_app.api.edge.Edge` began."""
    span: Span = getattr(request.state, "span", NO_SPAN)
    return span


def _method(scope: Scope) -> str:
    method: str = scope.get("method", "GET")  # a WebSocket begins with one
    return method if method in METHODS else _OTHER_METHOD
