"""Words Ray Serve's own error answers like ours, and removes headers that only Serve may set.

``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names :func:`middlewares`. Behind HAProxy, Serve calls
it in each Ingress replica and in the Python proxy that replaces them. Without HAProxy, Serve calls
it in the Python proxy that receives every request.
"""

import logging

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.edge.state import REQUEST_ID_HEADER, RequestState
from serve_app.api.error_answers import FAILED, error_response
from serve_app.errors import Overloaded, RequestTimeout, WhisperOxError
from serve_app.logs import configure_logging, request_scope
from serve_app.serving.bounded_http import bound_heads
from serve_app.serving.bounded_websocket import bound_websockets
from serve_app.serving.haproxy import LOST, NO_PROCESS, NOT_FOUND
from serve_app.serving.ray_internals import HEADERS_READ_AS_TEXT, SERVES_HEADERS, pull_bodies
from serve_app.settings import LogSettings

logger = logging.getLogger("whisper_ox.proxy")

OWN_PATHS = "/-/"
"""Serve's health check and route table, which Serve and HAProxy read themselves."""

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()

QUEUE_FULL = "The server's queue is full; send the request again later."

_ANSWERS: dict[int, WhisperOxError] = {
    404: NOT_FOUND,
    408: RequestTimeout(
        "The answer took longer than the proxy's request_timeout_s. Send shorter audio.", status=408
    ),
    429: Overloaded(QUEUE_FULL),
    500: FAILED,
    503: NO_PROCESS,
}


def middlewares() -> list[Middleware]:
    """The middlewares that Serve wraps around its server. This also sets up the process's
    server.
    """
    if not logging.getLogger("whisper_ox").handlers:  # an Ingress replica has set up its own
        configure_logging(LogSettings())
    pull_bodies()
    bound_heads()
    bound_websockets()
    return [Middleware(ProxyErrors)]


class ProxyErrors:
    """The outermost ASGI middleware: the caller gets JSON and one request id, whatever answers.

    Answers of the application pass unchanged, piece by piece.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope = _cleaned(scope)
        if scope["type"] == "websocket" or scope["path"].startswith(OWN_PATHS):
            await self._app(scope, receive, send)
        else:
            with request_scope(RequestState.of(scope).request_id):
                await _Exchange(scope, receive, send).run(self._app)


class _Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._raw_receive = receive
        self._raw_send = send
        self._has_begun = False
        self._is_replaced = False
        self._has_left = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        except Exception:
            if self._has_begun:
                raise  # the server breaks the connection, which the client sees
            logger.exception("Serve failed on the request")
            await self._answer(FAILED)
        if not self._has_begun and not self._has_left:
            logger.warning("the replica died under the request")
            await self._answer(LOST)

    async def _receive(self) -> Message:
        message = await self._raw_receive()
        self._has_left = message["type"] == "http.disconnect"
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_replaced = message["status"] in _ANSWERS and _is_text(message)
            if self._is_replaced:
                await self._answer(_ANSWERS[message["status"]], message)
        self._has_begun = True
        if not self._is_replaced:
            await self._raw_send(message)

    async def _answer(self, error: WhisperOxError, instead_of: Message | None = None) -> None:
        self._has_begun = True
        response = error_response(self._scope, error)
        response.headers[REQUEST_ID_HEADER] = RequestState.of(self._scope).request_id
        for name, value in instead_of["headers"] if instead_of else ():
            if name == b"retry-after" and value.isdigit():
                response.headers["Retry-After"] = str(max(1, int(value)))
        await response(self._scope, self._raw_receive, self._raw_send)


def _cleaned(scope: Scope) -> Scope:
    """``scope`` without Serve's headers and with a request id that is safe to log and to return."""
    scope = {**scope, "state": dict(scope.get("state", {}))}
    identifier = RequestState.begin(scope).request_id.encode()
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name != _ID_HEADER
        and name.replace(b"_", b"-") not in SERVES_HEADERS
        and (value.isascii() or name.replace(b"_", b"-") not in HEADERS_READ_AS_TEXT)
    ]
    return {**scope, "headers": [*kept, (_ID_HEADER, identifier)]}


def _is_text(start: Message) -> bool:
    # As Serve's own answers are; the application's errors are JSON.
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/plain")
        for name, value in start["headers"]
    )
