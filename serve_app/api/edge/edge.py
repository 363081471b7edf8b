"""The edge: what every request passes before a facade sees it.

The request gets an id and a record (metrics, span, log line). Then the edge checks its head,
whether the server still accepts requests, and its API key. It counts and times the body as it
arrives. Errors on the way become answers here, which pages of the allowed origins may read (CORS).
"""

from collections.abc import Collection
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.edge.cors import readable_by
from serve_app.api.edge.drain import Drain, DrainStage
from serve_app.api.edge.key_check import KeyCheck
from serve_app.api.edge.linger import lingering
from serve_app.api.edge.record import Recorder
from serve_app.api.edge.state import RequestState
from serve_app.api.edge.upload import HeldBytes, Upload, check_head
from serve_app.api.error_answers import refuse
from serve_app.errors import InvalidRequest, UploadTimeout, WhisperOxError
from serve_app.settings import HttpSettings

_WEBSOCKET_STATUSES = {"websocket.accept": 101, "websocket.close": 403}
"""How servers answer a WebSocket's handshake: accepted, or closed before that."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: HttpSettings,
        recorder: Recorder,
        drain: Drain,
        keys: KeyCheck,
        exposed_headers: Collection[str] = (),
    ) -> None:
        self._app = app
        self._answer = readable_by(limits.cors_origins, self._check, exposed_headers)
        self._limits = limits
        self._recorder = recorder
        self._drain = drain
        self._keys = keys
        self._held = HeldBytes(limits.max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = RequestState.begin(scope)
        send = self._noting(send, state)
        with self._recorder.recording(scope, state):
            await self._answer(scope, receive, send)

    async def _check(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = RequestState.of(scope)
        with ExitStack() as admitted:
            try:
                check_head(scope, self._limits)
                admitted.enter_context(self._drain.counting(scope, state))
                admitted.enter_context(self._keys.holding(scope, state))
            except WhisperOxError as error:
                if scope["type"] == "http" and not isinstance(error, InvalidRequest):
                    send = lingering(scope, receive, send)
                await refuse(scope, receive, send, error)
                return
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            upload = Upload(receive, self._limits, self._held, state)
            try:
                await upload.serve(self._app, scope, send)
            except Exception as error:
                if state.status:
                    raise  # half of the answer is out: the server breaks the connection
                if not (upload.is_complete or isinstance(error, UploadTimeout)):
                    send = lingering(scope, receive, send)
                await refuse(scope, receive, send, error)

    def _noting(self, send: Send, state: RequestState) -> Send:
        """A ``send`` that notes the status. While the server shuts down, it also asks the client to
        connect again, which may lead to another server.
        """

        async def noting(message: Message) -> None:
            kind = message["type"]
            if not state.status:
                state.status = message.get("status") or _WEBSOCKET_STATUSES.get(kind, 0)
                state.first_byte_seconds = state.seconds
            if kind == "http.response.start" and self._drain.stage > DrainStage.SERVING:
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        return noting
