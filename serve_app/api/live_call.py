"""One live session over a WebSocket, whatever its protocol: what every live facade does alike."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from serve_app.api.call import CallContext
from serve_app.api.dialects import KEY_SCHEMES
from serve_app.api.edge.state import RequestState
from serve_app.api.error_answers import FAILED, POLICY_VIOLATION, TRY_AGAIN_LATER, refuse
from serve_app.api.model_table import ServedModel
from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples
from serve_app.caller import Caller
from serve_app.errors import (
    IdleTimeout,
    MessageTooLarge,
    SessionLimit,
    WhisperOxError,
)
from serve_app.live.options import LiveOptions
from serve_app.live.pace import Pace
from serve_app.live.session import LiveSession
from serve_app.live.sessions import Closable
from serve_app.options import TranscribeOptions, check_against_model
from serve_app.service import SpeechService

NORMAL, MESSAGE_TOO_BIG, INTERNAL_ERROR = 1000, 1009, 1011
"""WebSocket close codes (RFC 6455, section 7.4.1) apart from those of a refused handshake."""

MOST_REASON_BYTES = 123
"""RFC 6455, section 5.5: a control frame holds 125 bytes, of which the code takes two."""


Options = TypeVar("Options", bound=LiveOptions)


class Held(Closable, Protocol):
    """What a connection holds for its length: a session, or sessions that follow one another."""

    id: str

    @property
    def seconds(self) -> float:
        """How much audio has come."""


class Hears(Protocol):
    """What takes audio."""

    id: str

    @property
    def seconds(self) -> float:
        """How much audio has come."""

    async def feed(self, samples: Samples) -> None:
        """Take the next audio, int16 at 16 kHz."""


class LiveCall:
    """One WebSocket at a live facade.

    The facade asks :meth:`check`, has :meth:`begin` make the session, answers the handshake by
    :meth:`accept`, takes each message by :meth:`receive` and passes the audio on by :meth:`feed`.
    """

    def __init__(self, socket: WebSocket, context: CallContext) -> None:
        self.socket = socket
        self._context = context
        self._limits = context.settings.live
        self._state = RequestState.of(socket.scope)
        self._state.bare_options = LiveOptions.model_fields  # no live protocol has generate_kwargs
        self._chosen: ServedModel | None = None
        self._pace = Pace(anyio.current_time())
        self._ends_at = anyio.current_time() + self._limits.session_seconds

    @property
    def key_name(self) -> str:
        """The name of the API key, "" without one."""
        return self._state.key_name

    @property
    def request_id(self) -> str:
        """The request id, by which the log names the connection."""
        return self._state.request_id

    @property
    def model_name(self) -> str:
        """The name of the model that hears, "" before :meth:`check`."""
        return "" if self._chosen is None else self._chosen.name

    def choose_model(self, name: str | None) -> None:
        """Note which model the caller names, None for none; see ``Call.choose_model``."""
        self._chosen = None if name is None else self._context.models.named(name)

    async def check(self, options: Options) -> Options:
        """Ask before the socket is accepted whether a session with ``options`` may begin.

        Returns them with the language of a model that knows only one.
        Raises ``InvalidOption`` for what the model cannot do, ``QuotaExceeded``, ``NotReady`` and
        ``Overloaded``.
        """
        service = self._service(options)
        self._context.quotas.charge(self._state.key, 0.0)
        await service.admit(self._caller(), None)
        options = await self.fitted(options)
        self._context.sessions.check(self.key_name, await service.live_load())
        return options

    async def fitted(self, options: Options) -> Options:
        """``options`` with the language of a model that knows only one.

        Raises ``InvalidOption`` for a language that the model does not know, and ``NotReady``.
        """
        facts = await self._service(options).model()
        check_against_model(TranscribeOptions(language=options.language), facts)
        return options if facts.multilingual else options.model_copy(update={"language": "en"})

    def begin(self, options: LiveOptions, session_id: str | None = None) -> LiveSession:
        """A new session, under an id of its own or ``session_id``. Whoever calls this closes it."""
        caller, sink = self._caller(), self._context.sink
        return LiveSession(
            self._service(options), caller, options, self._limits, sink, session_id=session_id
        )

    def change(self, session: LiveSession, options: LiveOptions) -> None:
        """Have what comes next heard with other options, by the model chosen since."""
        session.options = options
        session.hear_with(self._service(options))

    async def accept(self, subprotocol: str | None = None) -> None:
        """Accept the socket under ``subprotocol`` if the client offers it.

        Else under the word that a page offers beside its key: a browser gives up unless one of its
        offers is chosen.
        """
        offered = self.socket.scope.get("subprotocols", ())
        word = next((one for one in offered if one.lower() in KEY_SCHEMES), None)
        await self.socket.accept(subprotocol if subprotocol in offered else word)

    async def receive(self, *, may_rest: bool = False) -> bytes | str | None:
        """The next message; None once the client has left.

        ``may_rest``: nothing has to come for now, for as long as a session may last.
        Raises ``IdleTimeout``, ``MessageTooLarge`` and ``SessionLimit``.
        """
        left = self._ends_at - anyio.current_time()
        idle = left if may_rest else self._limits.idle_seconds
        message: dict[str, Any] | None = None
        with anyio.move_on_after(min(idle, left)):
            message = dict(await self.socket.receive())
        if message is None:
            if left <= idle:
                raise self._too_long()
            raise IdleTimeout(
                f"Nothing has come for {self._limits.idle_seconds:g} s. Send audio, also of "
                "silence, or keep-alive messages."
            )
        if message["type"] == "websocket.disconnect":
            return None
        data: bytes | str = message.get("bytes") or message.get("text") or b""
        if len(data) > self._limits.message_bytes:
            raise MessageTooLarge(
                f"A message of {len(data)} bytes came; this server takes up to "
                f"{self._limits.message_bytes}. Send audio in pieces of 20 to 250 ms."
            )
        return data

    async def feed(self, session: Hears, samples: Samples) -> None:
        """Charge audio to the key's quota and pass it on.

        Waits while the session has enough, or while the client is far ahead of the time.

        Raises ``QuotaExceeded`` and ``SessionLimit``.
        """
        if session.seconds > self._limits.session_seconds:
            raise self._too_long()
        seconds = len(samples) / SAMPLE_RATE_HZ
        self._context.quotas.charge(self._state.key, seconds)
        self._context.sessions.hear(session.id)
        await session.feed(samples)
        await anyio.sleep(self._pace.take(seconds, anyio.current_time()))

    async def serve(
        self,
        session: Held,
        exchange: Callable[[], Awaitable[None]],
        tell: Callable[[WhisperOxError], Awaitable[None]],
    ) -> None:
        """Serve a session that ends with its connection.

        ``exchange`` works until it is over; what it raises goes to ``tell``, which sends it in the
        protocol's form, and into the close frame.
        """
        sessions, error = self._context.sessions, None
        place = sessions.open(session.id, self.key_name, session)
        try:
            await exchange()
        except WebSocketDisconnect:
            pass
        except WhisperOxError as raised:
            error = raised
        except Exception:
            error = FAILED
            raise
        finally:
            try:
                if error is not None:
                    with suppress(WebSocketDisconnect, RuntimeError):  # the client has left
                        await tell(error)
            finally:  # whatever happens, the place is given up
                self.note(session)
                try:
                    await sessions.end(place)
                finally:
                    await self.close(error)

    def note(self, session: Held) -> None:
        """Tell the log line what the session was like."""
        self._state.log = {"audio_s": round(session.seconds, 2), "session": session.id}
        if self._chosen is not None:  # a session that is resumed has its model already
            self._state.log["model"] = self._chosen.name

    async def refuse(self, error: Exception) -> None:
        """Answer the handshake with an error in HTTP."""
        # A mistake in the code is logged there as well.
        await refuse(self.socket.scope, self.socket._receive, self.socket._send, error)

    async def close(self, error: WhisperOxError | None = None) -> None:
        """Close the socket; ``error`` says why if it is not the usual end."""
        code, reason = NORMAL, ""
        if error is not None:
            self._state.error_code = error.code
            code, reason = close_code(error), error.message
        if self.socket.application_state is WebSocketState.CONNECTED:
            short = reason.encode(errors="replace")[:MOST_REASON_BYTES].decode(errors="ignore")
            with suppress(RuntimeError, WebSocketDisconnect, OSError):  # it may have left meanwhile
                await self.socket.close(code, short)

    def _service(self, options: LiveOptions) -> SpeechService:
        """The model that hears the session."""
        if self._chosen is None:
            self._chosen = self._context.models.fitting(
                TranscribeOptions(language=options.language)
            )
        return self._chosen.service

    def _caller(self) -> Caller:
        state = self._state
        return Caller(state.request_id, state.key_name, traceparent=state.span.traceparent)

    def _too_long(self) -> SessionLimit:
        return SessionLimit(
            f"A live session lasts for at most {self._limits.session_seconds:g} s. Begin a new one."
        )


def close_code(error: WhisperOxError) -> int:
    """The close code that tells a WebSocket's client of ``error``."""
    if isinstance(error, MessageTooLarge):
        return MESSAGE_TOO_BIG
    if error.retry_after_seconds is not None:
        return TRY_AGAIN_LATER
    return INTERNAL_ERROR if error is FAILED else POLICY_VIOLATION


def seconds_to_wait(error: WhisperOxError) -> int | None:
    """After how many whole seconds to try again; None if that does not help."""
    seconds = error.retry_after_seconds
    return None if seconds is None else max(1, math.ceil(seconds))


async def first_done(*tasks: "asyncio.Task[Any]") -> None:
    """Wait until one of ``tasks`` has ended, cancel the others, and raise what it raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()
