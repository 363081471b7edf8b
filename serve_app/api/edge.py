"""What every request passes first: its id, the body limit, one log line and the last resort."""

import logging
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.errors import error_response, unknown_error_response
from serve_app.api.request_id import assign_request_id
from serve_app.errors import AudioTooLarge, InvalidRequest

logger = logging.getLogger("whisper_ox.access")

_QUIET_PATHS = frozenset({"/health", "/readyz"})
"""Probes come every few seconds; they are logged at debug unless they fail."""


class Edge:
    """ASGI middleware; neither Ray Serve's proxy nor HAProxy limits bodies, so this does."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        identifier = assign_request_id(scope)
        status = 0

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._serve(scope, receive, send_noting_status)
        except Exception as error:
            if status:
                raise  # half an answer is out; the server breaks the connection
            response = unknown_error_response(Request(scope), error)
            await response(scope, receive, send_noting_status)
        finally:
            self._log(scope, identifier, status, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        claimed = dict(scope["headers"]).get(b"content-length")
        try:
            if claimed is not None:
                self._check(_parse_length(claimed))
        except (AudioTooLarge, InvalidRequest) as error:
            await error_response(Request(scope), error)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                self._check(received)
            return message

        await self._app(scope, counted, send)

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._max_body_bytes:
            raise AudioTooLarge(
                f"The request body is larger than {self._max_body_bytes} bytes, the most this "
                "server takes. Send compressed audio (FLAC, OGG) or shorter files.",
                code="body_too_large",
            )

    def _log(self, scope: Scope, identifier: str, status: int, seconds: float) -> None:
        quiet = scope["path"] in _QUIET_PATHS and status == 200
        logger.log(
            logging.DEBUG if quiet else logging.INFO,
            "%s %s %s %.0fms id=%s%s",
            scope["method"],
            scope["path"],
            status or "gone",  # the client left before an answer
            seconds * 1000,
            identifier,
            "".join(f" {name}={value}" for name, value in scope["state"].get("log", {}).items()),
        )


def _parse_length(claimed: bytes) -> int:
    try:
        return int(claimed)
    except ValueError as error:
        raise InvalidRequest("The Content-Length header is no number.") from error
