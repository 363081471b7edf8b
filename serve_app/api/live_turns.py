"""One WebSocket on which live sessions follow one another: the turns or tasks of a protocol."""

import asyncio
import uuid
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from serve_app.api.live_call import LiveCall, first_done
from serve_app.audio.clip import Samples
from serve_app.errors import WhisperOxError
from serve_app.live.events import Event
from serve_app.live.options import LiveOptions
from serve_app.live.session import LiveSession


class AudioStream(Protocol):
    """Bytes in, 16 kHz mono int16 out."""

    def feed(self, data: bytes) -> Samples:
        """The samples that ``data`` completes."""

    def finish(self) -> Samples:
        """The last samples."""


class LiveTurn:
    """One of them. ``id`` is the client's name for it."""

    def __init__(self, turn_id: str, session: LiveSession, audio: AudioStream) -> None:
        self.id = turn_id
        self.session = session
        self.audio = audio
        self.ending: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Take no more audio; the events end once everything has been heard."""

        async def end() -> None:
            await self.session.feed(self.audio.finish())
            await self.session.finish()

        if self.ending is None:
            self.ending = asyncio.create_task(end())


Turn = TypeVar("Turn", bound=LiveTurn)


class LiveTurns(ABC, Generic[Turn]):
    """One connection. A protocol says what it reads and what it writes.

    It keeps one place among the live sessions, also between two turns, since whoever presses a
    button to talk has to be heard at once.
    """

    def __init__(self, call: LiveCall) -> None:
        self.id = uuid.uuid4().hex
        self.call = call
        self.turn: Turn | None = None
        self._seconds_before = 0.0
        self._begun: asyncio.Queue[Turn] = asyncio.Queue()

    @property
    def seconds(self) -> float:
        """How much audio has come in all turns."""
        current = 0.0 if self.turn is None else self.turn.session.seconds
        return self._seconds_before + current

    async def serve(self, options: LiveOptions, subprotocol: str | None = None) -> None:
        """Serve the connection if turns with ``options`` may begin, or refuse its handshake."""
        try:
            await self.call.check(options)
        except Exception as error:
            await self.call.refuse(error)
            return

        async def exchange() -> None:
            await self.call.accept(subprotocol)
            await first_done(asyncio.create_task(self._read()), asyncio.create_task(self._write()))

        await self.call.serve(self, exchange, self.tell_error)

    @abstractmethod
    async def obey(self, data: bytes | str) -> None:
        """Take a message of the client."""

    @abstractmethod
    async def tell(self, turn: Turn, event: Event) -> None:
        """Write what has happened in a turn."""

    @abstractmethod
    async def tell_end(self, turn: Turn) -> None:
        """Write that a turn is over."""

    @abstractmethod
    async def tell_error(self, error: WhisperOxError) -> None:
        """Write why the connection is about to be closed."""

    async def session(self, options: LiveOptions) -> LiveSession:
        """A session for the next turn, with the model that has its language.

        Raises ``InvalidOption`` for a language that no model knows, and ``NotReady``.
        """
        self.call.choose_model(None)
        return self.call.begin(await self.call.fitted(options), self.id)

    async def begin(self, turn: Turn) -> None:
        """Let ``turn`` go on from now on. An earlier one that has not ended is given up."""
        if self.turn is not None:
            await self.turn.session.close()
            self._is_over(self.turn)
        self.turn = turn
        self._begun.put_nowait(turn)

    async def hear(self, turn: Turn, data: bytes) -> None:
        """Take audio, unless the turn is about to end."""
        if turn.ending is None:
            await self.call.feed(turn.session, turn.audio.feed(data))

    async def close(self) -> None:
        """End at once."""
        if self.turn is not None:
            await self.turn.session.close()

    async def _read(self) -> None:
        while True:
            is_resting = self.turn is None or self.turn.ending is not None
            data = await self.call.receive(may_rest=is_resting)
            if data is None:
                return
            await self.obey(data)

    async def _write(self) -> None:
        while True:
            turn = await self._begun.get()
            async for event in turn.session.events():
                await self.tell(turn, event)
            await self.tell_end(turn)
            self._is_over(turn)

    def _is_over(self, turn: Turn) -> None:
        if turn is self.turn:
            self._seconds_before += turn.session.seconds
            self.turn = None
