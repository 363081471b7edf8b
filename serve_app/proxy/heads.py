"""Bounds on the heads of requests, which uvicorn 0.54 takes at any length over any time.

A connection that sends nothing, or a head without an end, would stay for good.
"""

import asyncio
import uuid
from typing import Any, ClassVar

import uvicorn.config
from starlette.responses import JSONResponse
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serve_app.api.dialects import NATIVE
from serve_app.api.edge.state import REQUEST_ID_HEADER
from serve_app.errors import HeadersTooLarge, InvalidRequest, UploadTimeout, WhisperOxError
from serve_app.settings import ProxySettings


def bound_heads() -> None:
    """Let every uvicorn server that this process starts from now on use :class:`BoundedHeads`."""
    BoundedHeads.limits = ProxySettings.from_environment()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHeads.__name__}"


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's connection with a time limit and a size limit for each request's head."""

    limits: ClassVar[ProxySettings] = ProxySettings()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._n_head_bytes = 0
        self._is_in_body = False
        self._timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(  # type: ignore[override]  # uvicorn narrows asyncio's argument as well
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    @override
    def on_headers_complete(self) -> None:
        self._has_head()
        self._is_in_body = True
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    @override
    def data_received(self, data: bytes) -> None:
        was_in_body = self._is_in_body
        super().data_received(data)
        if self._timer is not None and not was_in_body:  # the head goes on
            self._n_head_bytes += len(data)
            if self._n_head_bytes > self.limits.max_head_bytes:
                most = self.limits.max_head_bytes
                self._refuse(HeadersTooLarge(f"The request's head is longer than {most} bytes."))
        elif self._timer is None and self._is_idle() and self.timeout_keep_alive_task is None:
            # Empty lines between requests have ended uvicorn's own timer, or the rest of a body
            # has whose request was refused before it came. That is thrown away.
            self._expect_head()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(msg, code="invalid_http"))

    def _expect_head(self) -> None:
        self._has_head()
        self._n_head_bytes = 0
        self._timer = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _has_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_idle(self) -> bool:
        """Whether no request is being answered, on what still is an HTTP connection."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return not is_answering and self.transport.get_protocol() is self

    def _is_owed_an_answer(self) -> bool:
        """Whether the client would take what is written now for the answer to what it has sent."""
        if self._is_in_body and self.cycle is not None:
            return not self.cycle.response_started
        return self._is_idle()

    def _give_up(self) -> None:
        if not self._is_idle():
            self._expect_head()  # of a second request, while the first is being worked on
            return
        seconds = self.limits.head_seconds
        self._refuse(UploadTimeout(f"No whole request head came within {seconds:g} s."))

    def _refuse(self, error: WhisperOxError) -> None:
        self._has_head()
        if self.transport.is_closing():
            return
        if self._is_owed_an_answer():
            identifier = uuid.uuid4().hex
            headers = {REQUEST_ID_HEADER: identifier, "Connection": "close"}
            answer = JSONResponse(NATIVE.error_body(error, identifier), error.status, headers)
            lines = [b"%b: %b\r\n" % header for header in answer.raw_headers]
            status_line = STATUS_LINE[error.status]
            self.transport.write(b"".join([status_line, *lines, b"\r\n", answer.body]))
        self.transport.close()
