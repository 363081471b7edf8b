"""The one place where errors become HTTP answers.

OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``, all four always there.
"""

import logging
import math
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from serve_app.api.request_id import HEADER as REQUEST_ID_HEADER
from serve_app.api.request_id import request_id
from serve_app.errors import WhisperOxError

logger = logging.getLogger("whisper_ox.api")

_HTTP_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}

OPENAI_PATHS = ("/v1/audio/", "/openai/", "/v1/models")
"""Where clients of OpenAI's API ask; on every other path errors have the native form."""

_OPENAI_CODES = {"unauthorized": "invalid_api_key", "overloaded": "rate_limit_exceeded"}
"""Ours -> theirs, where clients know one."""

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
"""WebSocket close codes (RFC 6455, section 7.4.1, and IANA's registry)."""
_DENIAL = "websocket.http.response"
"""ASGI extension: an HTTP answer to a WebSocket handshake."""

SHOWN_CHARACTERS = 200
"""Of what a caller sent, at most, where it is shown or logged."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` with the JSON body of :func:`error_response`."""
    app.add_exception_handler(WhisperOxError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


def error_response(request: Request, error: WhisperOxError) -> JSONResponse:
    """:func:`error_body` with the error's status."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408:
        headers["Connection"] = "close"  # RFC 9110: the rest of the request is not waited for
    request.state.error_code = error.code  # for the metrics
    body = error_body(path_of(request.scope), request_id(request), error)
    return JSONResponse(body, error.status, headers)


async def refuse(scope: Scope, receive: Receive, send: Send, error: WhisperOxError) -> None:
    """Answer a request, or the handshake of a WebSocket that has not been accepted."""
    if scope["type"] != "websocket":
        await error_response(Request(scope), error)(scope, receive, send)
        return
    await receive()  # websocket.connect, which an answer must follow
    response = error_response(Request({**scope, "type": "http", "method": "GET"}), error)
    if _DENIAL in (scope.get("extensions") or {}):
        # Serve puts the id into answers to requests only.
        response.headers[REQUEST_ID_HEADER] = scope["state"]["request_id"]
        await response(scope, receive, send)
        return
    code = POLICY_VIOLATION if error.retry_after_seconds is None else TRY_AGAIN_LATER
    await send({"type": "websocket.close", "code": code, "reason": error.code})


def path_of(scope: Scope) -> str:
    """The path below the prefix that Serve gives the application, as routes are written."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def error_body(path: str, identifier: str, error: WhisperOxError) -> dict[str, Any]:
    """``{"error": {"code", "message", "field", "request_id"}}``, or OpenAI's form by ``path``."""
    if not path.startswith(OPENAI_PATHS):
        native = {"field": error.field, "request_id": identifier}
        return {"error": {"code": error.code, "message": error.message, **native}}
    return {
        "error": {
            "message": error.message,
            "type": _openai_type(error.status),
            "param": error.field,
            "code": _OPENAI_CODES.get(error.code, error.code),
        }
    }


def _openai_type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def unknown_error(error: Exception) -> WhisperOxError:
    """500 for what nobody foresaw. The traceback is for the operator's log only."""
    logger.error("the request failed", exc_info=error)
    return WhisperOxError(
        "The server failed on this request. The operator finds the cause in the log under this "
        "request id."
    )


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, WhisperOxError)
    return error_response(request, error)


async def _http(request: Request, error: Exception) -> Response:
    """Starlette's own answers: no such path, no such method."""
    assert isinstance(error, HTTPException)
    # Not request.url: Starlette makes that of the Host header, which may be no host at all.
    path = "".join(c if c.isprintable() else "?" for c in request.scope["path"])
    message = f"{request.method} {path[:SHOWN_CHARACTERS]}: {error.detail}. See /docs for more."
    code = _HTTP_CODES.get(error.status_code, "http_error")
    response = error_response(request, WhisperOxError(message, code=code, status=error.status_code))
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed_methods(request))
    return response


def _allowed_methods(request: Request) -> list[str]:
    """Of every route under the path; Starlette names those of the first."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _invalid(request: Request, error: Exception) -> Response:
    """FastAPI's: a parameter or a JSON body does not have the declared form."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"][1:])[:SHOWN_CHARACTERS] or None
    message = f"{field or first['loc'][0]}: {first['msg'][:SHOWN_CHARACTERS]}"
    return error_response(
        request, WhisperOxError(message, code="invalid_request", status=422, field=field)
    )
