"""Limits on what a request may cost: its head, its body, its time. Ray Serve has none of them."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.edge.state import RequestState
from serve_app.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    UnsupportedEncoding,
    UploadTimeout,
)
from serve_app.settings import HttpSettings

_LINE_BYTES = len(": \r\n")
_MAX_DIGITS = 18
_MAX_TYPE_BYTES = 1024
"""Of a Content-Type. Each semicolon in one takes a microsecond to parse."""

_SHOWN_ENCODING = 40


def check_head(scope: Scope, limits: HttpSettings) -> None:
    """Refuse a request that its head alone shows to be unacceptable.

    Raises ``HeadersTooLarge``, ``InvalidRequest`` for a malformed Content-Length or an overlong
    Content-Type, ``BodyTooLarge`` for a Content-Length that is too large, and
    ``UnsupportedEncoding`` for a compressed body.
    """
    n_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    n_bytes += sum(len(name) + len(value) + _LINE_BYTES for name, value in scope["headers"])
    if n_bytes > limits.max_header_bytes:
        raise HeadersTooLarge(
            f"The request's path and headers have {n_bytes} bytes; this server takes up to "
            f"{limits.max_header_bytes}."
        )
    claims = {value for name, value in scope["headers"] if name == b"content-length"}
    for claim in claims:
        if len(claims) > 1 or not claim.isdigit() or len(claim) > _MAX_DIGITS:
            raise InvalidRequest("The Content-Length header is not one number of bytes.")
        _check_body(int(claim), limits)
    for name, value in scope["headers"]:
        if name == b"content-type" and len(value) > _MAX_TYPE_BYTES:
            raise InvalidRequest(
                f"The Content-Type header is longer than {_MAX_TYPE_BYTES} bytes.",
                field="Content-Type",
            )
        encoding = value.decode("latin-1").strip()
        if name == b"content-encoding" and encoding.lower() not in ("", "identity"):
            raise UnsupportedEncoding(
                f"The body has the Content-Encoding {encoding[:_SHOWN_ENCODING]!a}; send it "
                "as it is, without that header. Audio is compressed best by a codec (FLAC, Opus).",
                field="Content-Encoding",
            )


def _check_body(n_bytes: int, limits: HttpSettings) -> None:
    if n_bytes > limits.max_body_bytes:
        raise BodyTooLarge(
            f"The request body is larger than {limits.max_body_bytes} bytes, the most this "
            "server takes. Send compressed audio (FLAC, OGG) or shorter files."
        )


class HeldBytes:
    """The memory that one replica's requests in progress hold together, at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.n_bytes = 0


class Share:
    """The part of ``HeldBytes`` that one request takes. Leaving its block frees all of it."""

    def __init__(self, held: HeldBytes) -> None:
        self._held = held
        self._n_bytes = 0

    def __call__(self, n_bytes: int) -> None:
        """Hold ``n_bytes`` more, or fewer. Raises ``Overloaded`` if there is no room."""
        if n_bytes > 0 and self._held.n_bytes + n_bytes > self._held.most:
            raise Overloaded(
                "The server holds as much audio of requests in progress as it may; send this "
                "request again later."
            )
        self._held.n_bytes += n_bytes
        self._n_bytes += n_bytes

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.n_bytes -= self._n_bytes


class Upload:
    """Counts and times the body of one request as it arrives, and times the work on it."""

    def __init__(
        self, receive: Receive, limits: HttpSettings, held: HeldBytes, state: RequestState
    ) -> None:
        self._raw_receive = receive
        self._limits = limits
        self._hold = state.hold = Share(held)
        self._state = state
        self._patience = anyio.CancelScope()
        self._must_be_complete = self._must_go_on = anyio.current_time()
        self.is_complete = False
        """Whether the whole body has come."""
        self._is_awaited = False
        self._goes_on = True

    async def serve(self, app: ASGIApp, scope: Scope, send: Send) -> None:
        """Let ``app`` serve the request.

        When time is up, this cancels ``app``. It raises ``UploadTimeout`` if ``app`` was waiting
        for the body, or else ``RequestTimeout``. Inside ``app``, ``receive`` raises
        ``BodyTooLarge`` and ``Overloaded``.
        """
        began = anyio.current_time()
        self._must_be_complete = began + self._limits.upload_seconds
        self._patience.deadline = began + self._limits.request_seconds
        with self._hold, self._patience:
            await app(scope, self._receive, send)
        if self._patience.cancelled_caught:
            raise self._too_late()

    async def _receive(self) -> Message:
        if self.is_complete:
            return await self._raw_receive()  # waits for the client to leave
        if self._goes_on:
            self._must_go_on = anyio.current_time() + self._limits.upload_idle_seconds
        self._patience.deadline = min(self._must_go_on, self._must_be_complete)
        self._is_awaited = True
        message = await self._raw_receive()
        self._is_awaited = False
        self._patience.deadline = anyio.current_time() + self._limits.request_seconds
        n_bytes = len(message.get("body", b""))
        self._goes_on = n_bytes > 0
        self.is_complete = not message.get("more_body", False)
        self._state.body_bytes += n_bytes
        _check_body(self._state.body_bytes, self._limits)
        self._hold(n_bytes)
        return message

    def _too_late(self) -> UploadTimeout | RequestTimeout:
        if not self._is_awaited:
            return RequestTimeout(
                f"The transcription took longer than {self._limits.request_seconds:g} s, the most "
                "this server gives one request. Send shorter audio or cheaper options."
            )
        if self._must_go_on < self._must_be_complete:
            detail = f"stopped coming for {self._limits.upload_idle_seconds:g} s"
        else:
            detail = f"was not complete after {self._limits.upload_seconds:g} s"
        return UploadTimeout(
            f"The request body {detail}; {self._state.body_bytes} bytes of it came."
        )
