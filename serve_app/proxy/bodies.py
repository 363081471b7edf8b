"""Bodies that come in crumbs, handed on in pieces that are worth a call.

Serve's Python proxy passes each ASGI message of a request to the HTTP replica by an actor call of
its own (``ASGIReceiveProxy`` in ``ray/serve/_private/http_util.py``, Serve 2.60). A few hundred
clients that send a byte a second would cost more than those who are heard.
"""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENOUGH_BYTES = 512 * 1024
"""A piece of so many goes on at once: 15 s of 16 kHz, 16-bit mono PCM are one."""

HOLD_SECONDS = 4.0
"""So long the first byte of a smaller piece waits for more; well below
``HttpSettings.upload_idle_seconds``, which the replica counts between pieces."""


class GatheredBodies:
    """ASGI middleware: bodies of HTTP requests in larger pieces. WebSockets pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        await self._app(scope, _Gathered(receive) if scope["type"] == "http" else receive, send)


class _Gathered:
    """``receive`` of one HTTP request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._next: Message | None = None

    async def __call__(self) -> Message:
        message = self._next or await self._receive()
        self._next = None
        if not message.get("more_body"):
            return message
        body = bytearray(message.get("body", b""))
        with anyio.move_on_after(HOLD_SECONDS):
            while len(body) < ENOUGH_BYTES:
                message = await self._receive()
                if message["type"] != "http.request":  # the client has left
                    self._next = message
                    break
                body += message.get("body", b"")
                if not message.get("more_body"):
                    return {**message, "body": bytes(body)}
        return {"type": "http.request", "body": bytes(body), "more_body": True}
