"""The one place where errors become HTTP answers. The dialect of the path words their bodies."""

import logging
import math

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from serve_app.api.dialects import dialect_of
from serve_app.api.edge.state import METHODS, REQUEST_ID_HEADER, SHOWN_CHARACTERS, RequestState
from serve_app.api.json_answer import JsonAnswer
from serve_app.errors import UnsupportedEncoding, WhisperOxError

logger = logging.getLogger("whisper_ox.api")

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
"""WebSocket close codes (RFC 6455, section 7.4.1, and IANA's registry)."""
_DENIAL = "websocket.http.response"
"""ASGI extension: an HTTP answer to a WebSocket handshake."""

_HTTP_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}

FAILED = WhisperOxError(
    "The server failed on this request. The operator finds the cause in the log under this request "
    "id."
)


def error_response(scope: Scope, error: WhisperOxError) -> JsonAnswer:
    """The answer to a request whose state has begun. It also notes the error's code there."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedEncoding):
        headers["Accept-Encoding"] = "identity"  # RFC 9110, section 15.5.16
    if error.status == 408:
        headers["Connection"] = "close"  # RFC 9110: nobody waits for the rest of the request
    state = RequestState.of(scope)
    state.error_code = error.code
    dialect = dialect_of(state.path)
    body = dialect.error_body(error, state.request_id, state.bare_options)
    return JsonAnswer(body, dialect.status(error), headers)


async def refuse(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Answer a request, or the handshake of a WebSocket that has not been accepted.

    An unforeseen error becomes a 500. Its traceback goes only to the operator's log.
    """
    if not isinstance(error, WhisperOxError):
        logger.error("the request failed", exc_info=error)
        error = FAILED
    response = error_response(scope, error)
    if scope["type"] == "websocket":
        await receive()  # websocket.connect, which an answer must follow
        if _DENIAL not in (scope.get("extensions") or {}):
            code = POLICY_VIOLATION if error.retry_after_seconds is None else TRY_AGAIN_LATER
            await send({"type": "websocket.close", "code": code, "reason": error.code})
            return
        # Serve adds the id to the answers of requests, but not to these.
        response.headers[REQUEST_ID_HEADER] = RequestState.of(scope).request_id
    await response(scope, receive, send)


def install_error_handlers(app: FastAPI) -> None:
    """Word the framework's own errors like ours: no such path or method, a malformed parameter.

    :func:`refuse` answers all others.
    """
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)

    async def no_route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app.router.not_found(scope, receive, send)
            return
        # The framework would close the handshake with a bare 403, as if a key were wrong.
        message = f"{_shown_path(scope)}: there is no WebSocket here. docs/live.md lists them."
        await refuse(scope, receive, send, WhisperOxError(message, code="not_found", status=404))

    app.router.default = no_route


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = _shown_path(request.scope)
    message = f"{request.method} {path}: {error.detail}. See /docs for more."
    code = _HTTP_CODES.get(error.status_code, "http_error")
    known = WhisperOxError(message, code=code, status=error.status_code)
    response = error_response(request.scope, known)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed_methods(request))
    return response


def _shown_path(scope: Scope) -> str:
    # Starlette makes request.url of the Host header, which may not hold a host at all.
    path = "".join(c if c.isprintable() else "?" for c in scope["path"])
    return path[:SHOWN_CHARACTERS]


def _allowed_methods(request: Request) -> list[str]:
    # Starlette itself names only those of the first route under the path.
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"][1:])[:SHOWN_CHARACTERS] or None
    message = f"{field or first['loc'][0]}: {first['msg'][:SHOWN_CHARACTERS]}"
    known = WhisperOxError(message, code="invalid_request", status=422, field=field)
    return error_response(request.scope, known)
