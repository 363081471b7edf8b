"""The one place where errors become HTTP answers."""

import logging
import math

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve_app.api.request_id import request_id
from serve_app.errors import WhisperOxError

logger = logging.getLogger("whisper_ox.api")

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` with the JSON body of :func:`error_response`."""
    app.add_exception_handler(WhisperOxError, _known)
    app.add_exception_handler(HTTPException, _http)


def error_response(request: Request, error: WhisperOxError) -> JSONResponse:
    """``{"error": {"code", "message", "field", "request_id"}}`` with the error's status."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    body = {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "request_id": request_id(request),
    }
    return JSONResponse({"error": body}, error.status, headers)


def unknown_error_response(request: Request, error: Exception) -> JSONResponse:
    """500 for what nobody foresaw. The traceback is for the operator's log only."""
    logger.error("request %s failed", request_id(request), exc_info=error)
    return error_response(
        request,
        WhisperOxError(
            "The server failed on this request. The operator finds the cause in the log under "
            "this request id."
        ),
    )


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, WhisperOxError)
    return error_response(request, error)


async def _http(request: Request, error: Exception) -> Response:
    """Starlette's own answers: no such path, no such method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}. See /docs for what there is."
    code = _HTTP_CODES.get(error.status_code, "http_error")
    response = error_response(request, WhisperOxError(message, code=code, status=error.status_code))
    response.headers.update(error.headers or {})
    return response
