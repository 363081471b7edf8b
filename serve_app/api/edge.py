"""What every request passes first: its id, the limits, one log line and the last resort."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.errors import SHOWN_CHARACTERS, path_of, refuse, unknown_error
from serve_app.api.request_id import assign_request_id
from serve_app.api.request_metrics import RequestMetrics
from serve_app.api.request_span import begin_span, note_answer
from serve_app.api.upload import HeldBytes, Upload, check_head
from serve_app.errors import WhisperOxError
from serve_app.logs import fields, request_scope
from serve_app.metrics.catalogue import NO_METRICS, Sink
from serve_app.settings import HttpSettings
from serve_app.tracing.span import NO_SPAN, NO_TRACER, Tracer

logger = logging.getLogger("whisper_ox.access")

_QUIET_PATHS = frozenset({"/health", "/readyz"})
"""Probes come every few seconds; they are not traced, and logged at debug unless they fail."""

SWITCHED, REFUSED = 101, 403
"""How servers answer the handshake of a WebSocket that is accepted or closed before that."""

CLIENT_LEFT = 499
"""In the log, for want of a status: the client left before an answer. nginx's number for it."""


class Edge:
    """ASGI middleware around everything else of the application."""

    def __init__(
        self,
        app: ASGIApp,
        limits: HttpSettings,
        sink: Sink = NO_METRICS,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._metrics = RequestMetrics(sink)
        self._limits = limits
        self._held = HeldBytes(limits.max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = assign_request_id(scope)
        is_probe = path_of(scope) in _QUIET_PATHS
        span = NO_SPAN if is_probe else begin_span(self._tracer, scope)
        with span, request_scope(request_id, span.trace_id):
            answer = _Answer(send)
            self._metrics.begin()
            try:
                await self._pass(scope, receive, answer)
            finally:
                seconds = answer.seconds_so_far()
                self._metrics.end(scope, answer.status, seconds, answer.first_byte_seconds)
                note_answer(scope, answer.status)
                self._log(scope, answer.status, seconds)

    async def _pass(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            check_head(scope, self._limits)
        except WhisperOxError as error:
            await refuse(scope, receive, answer, error)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, answer)
            return
        try:
            await Upload(receive, self._limits, self._held).serve(self._app, scope, answer)
        except Exception as error:
            if answer.status:
                raise  # half an answer is out; the server breaks the connection
            known = error if isinstance(error, WhisperOxError) else unknown_error(error)
            await refuse(scope, receive, answer, known)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        quiet = path_of(scope) in _QUIET_PATHS and status == 200
        state = scope["state"]
        known = {name: state.get(name) for name in ("body_bytes", "key_name", "error_code")}
        logger.log(
            logging.DEBUG if quiet else logging.INFO,
            "%(method)s %(path)s %(status)d %(duration_ms).0fms",
            {
                "method": scope.get("method", "WS"),
                "path": scope["path"][:SHOWN_CHARACTERS],
                "status": status or CLIENT_LEFT,
                "duration_ms": round(seconds * 1000, 1),
            },
            extra=fields(
                **{name: value for name, value in known.items() if value} | state.get("log", {})
            ),
        )


class _Answer:
    """``send`` of a request or a WebSocket, which knows what became of it. ``status`` 0: nothing
    yet; a WebSocket has the status with which servers answer its handshake.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.perf_counter()
        self.status = 0
        self.first_byte_seconds = 0.0

    async def __call__(self, message: Message) -> None:
        if not self.status:
            self.status = _status_of(message)
            self.first_byte_seconds = self.seconds_so_far()
        await self._send(message)

    def seconds_so_far(self) -> float:
        """Since the request's head was there."""
        return time.perf_counter() - self._began


def _status_of(message: Message) -> int:
    if message["type"] in ("http.response.start", "websocket.http.response.start"):
        status: int = message["status"]
        return status
    return {"websocket.accept": SWITCHED, "websocket.close": REFUSED}.get(message["type"], 0)
