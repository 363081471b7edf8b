"""Stopping without a failed request: what is in progress ends, what comes is sent elsewhere."""

import time
from dataclasses import dataclass
from enum import IntEnum

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.errors import path_of, refuse
from serve_app.errors import NotReady

_READINESS_PATH = "/readyz"


class Stage(IntEnum):
    """Of a server's life; it only goes on to the next."""

    SERVING = 0
    LEAVING = 1
    """``/readyz`` says 503, so that a load balancer turns away; requests are still served."""
    CLOSED = 2
    """New requests get 503."""


@dataclass(frozen=True)
class InProgress:
    """Requests that an HTTP replica is working on, uploads included.

    ``idle_seconds`` have passed since it had one: 0 while it has, infinity before the first.
    """

    requests: int
    idle_seconds: float


class Drain:
    """The stage of one HTTP replica and the requests in it. Used from one event loop only."""

    def __init__(self) -> None:
        self.stage = Stage.SERVING
        self._requests = 0
        self._last_ended = float("-inf")

    def advance(self, stage: Stage) -> InProgress:
        """Go on to ``stage`` (never back); returns what is left to be done."""
        self.stage = max(self.stage, stage)
        idle = 0.0 if self._requests else time.monotonic() - self._last_ended
        return InProgress(self._requests, idle)

    def __enter__(self) -> None:
        self._requests += 1

    def __exit__(self, *exception: object) -> None:
        self._requests -= 1
        self._last_ended = time.monotonic()


class DrainGate:
    """ASGI middleware: counts POSTs and WebSockets, and refuses new ones of a closed server.

    From ``LEAVING`` on each answer asks the client to connect anew, which may lead elsewhere.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        stage = self._drain.stage
        if stage > Stage.SERVING:
            send = _closing(send)
        is_socket = scope["type"] == "websocket"
        if is_socket or (scope["type"] == "http" and scope["method"] == "POST"):
            if stage is Stage.CLOSED:
                await refuse(scope, receive, send, _stopping())
            else:
                with self._drain:
                    await self._app(scope, receive, send)
        elif (
            stage > Stage.SERVING and scope["type"] == "http" and path_of(scope) == _READINESS_PATH
        ):
            await refuse(scope, receive, send, _stopping())
        else:
            await self._app(scope, receive, send)


def _stopping() -> NotReady:
    return NotReady(
        "This server is shutting down. Send the request again: another one takes it, or this one "
        "once it is back."
    )


def _closing(send: Send) -> Send:
    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return send_closing
