"""uvicorn's HTTP protocol, with limits on heads and trailers and on the time to parse them.

uvicorn's fast parser has no such limits. It keeps a head in memory until it is complete, and each
line of the trailers after a chunked body. It parses everything that one read returns at once,
although a body in chunks of one byte takes it 100 ns per byte. HAProxy limits heads in the same
way.
"""

import asyncio
import time

import uvicorn.config
from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a head, of trailers, and between two pieces of a body."""

PIECE_BYTES = 8 * 1024
"""Most bytes that are parsed without a look at the time. This takes 1 ms at most."""

TURN_SECONDS = 0.001
"""Seconds for which one connection is parsed before others have their turn on the event loop."""


def bound_heads() -> None:
    """Let servers that uvicorn starts from now on use :class:`BoundedHttp`."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHttp.__name__}"


class _Flow(FlowControl):
    """Reads no more from the connection while something that was read ``is_left``."""

    is_left = False

    @override
    def resume_reading(self) -> None:
        if self.is_left:
            self.read_paused = False
        else:
            super().resume_reading()


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection on which too much arrives that is not a body.

    The client gets the answer to a request that is not HTTP, or none if its answer has begun.
    """

    _left = b""
    _n_head_bytes = 0

    @override
    def connection_made(  # type: ignore[override]  # as uvicorn's own protocol narrows it
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._left, self._flow.is_left = b"", False
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        self._left += data
        if not self._flow.is_left:
            self._parse()

    def _parse(self) -> None:
        began, start = time.perf_counter(), 0
        while start < len(self._left) and time.perf_counter() - began < TURN_SECONDS:
            piece = self._left[start : start + PIECE_BYTES]
            start += len(piece)
            self._n_head_bytes += len(piece)
            super().data_received(piece)
            if self._n_head_bytes > MAX_HEAD_BYTES:
                self._refuse()
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                self._left = b""  # the connection is closed, or is a WebSocket now
                return
        self._left = self._left[start:]
        if self._left:
            self._flow.is_left = True
            self.transport.pause_reading()
            self.loop.call_soon(self._parse)
        elif self._flow.is_left:
            self._flow.is_left = False
            if not self._flow.read_paused:
                self.transport.resume_reading()

    def _refuse(self) -> None:
        if self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        elif not self.transport.is_closing():
            self.send_400_response("The request's headers or trailers are too large.")

    @override
    def on_headers_complete(self) -> None:
        self._n_head_bytes = 0
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._n_head_bytes = 0
        super().on_body(body)
