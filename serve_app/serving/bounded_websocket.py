"""uvicorn's WebSocket protocol, with limits on what a client can make the server keep.

uvicorn inflates compressed messages, a thousand bytes from each byte. It makes messages of
everything that one read returns before it reads no more, keeps each empty piece of a message, and
answers pings whether or not the client reads the answers. It also gives up a client whose answer to
a ping it has not read, because it has not taken what the client sent before.
"""

import logging
from typing import Any

import uvicorn.config
from typing_extensions import override
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.server import ServerProtocol

from serve_app.settings import MOST_MESSAGE_BYTES

PIECE_BYTES = 4 * 1024
"""Most bytes of which messages are made at once, before the application takes the first one."""


def bound_websockets() -> None:
    """Let servers that uvicorn starts from now on use :class:`BoundedWebSocket`."""
    uvicorn.config.WS_PROTOCOLS["auto"] = f"{__name__}:{BoundedWebSocket.__name__}"


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Takes no compressed messages, and closes the connection on one that is too large.

    Nothing more is parsed or read while the application has messages to take, before it has
    accepted the handshake, and while the client does not read.
    """

    _left = b""
    _read_at = 0.0

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._joined = bytearray()  # of a message in pieces
        self.conn = ServerProtocol(
            max_size=MOST_MESSAGE_BYTES, logger=logging.getLogger("uvicorn.error")
        )

    @override
    def data_received(self, data: bytes) -> None:
        self._left += data
        self._read_at = self.loop.time()
        self._parse()

    @override
    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        self._parse()
        return message

    @override
    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        self._parse()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._parse()

    @override
    def keepalive_timeout(self) -> None:
        # The answer comes after everything that the client has sent before.
        is_held_back = self.read_paused and self.writable.is_set()
        if is_held_back or self._read_at > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def _parse(self) -> None:
        start = 0
        while start < len(self._left) and self._takes_more():
            piece = self._left[start : start + PIECE_BYTES]
            start += len(piece)
            super().data_received(piece)
        self._left = self._left[start:]
        if self.transport.is_closing():
            self._left = b""
        elif self._left:
            self.transport.pause_reading()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _takes_more(self) -> bool:
        is_answered = self.handshake_complete or not self.handshake_initiated
        is_read = self.writable.is_set() and not self.read_paused
        return is_answered and is_read and not self.transport.is_closing()

    @override
    def handle_cont(self, event: Frame) -> None:
        if self.frames:
            self._joined = bytearray(self.frames.pop())
        self._joined += event.data
        if event.fin:
            self.frames, self._joined = [bytes(self._joined)], bytearray()
            self.send_receive_event_to_app()
