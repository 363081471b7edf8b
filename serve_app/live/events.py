"""What a live session tells. Times are in seconds from the beginning of the stream."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from serve_app.errors import WhisperOxError
from serve_app.transcript import Word

MOST_KEPT = 500
"""Events that are kept for a client who reads late or comes back: some 20 minutes of speech."""


@dataclass(frozen=True)
class SpeechStarted:
    """Somebody began to speak at ``at``, in this utterance."""

    at: float
    utterance: int = 0


@dataclass(frozen=True)
class SpeechEnded:
    """Nobody has spoken since ``at``. The final text of what was said, up to this utterance, comes
    later.
    """

    at: float
    utterance: int = 0


@dataclass(frozen=True)
class Partial:
    """What is heard so far of an utterance that goes on; the next one replaces it.

    ``utterance`` counts from 0. ``words`` are all words of the utterance so far, of which the
    first ``n_certain`` will not change before the final text. ``heard_seconds`` is how much of the
    stream has been heard, ``lag_seconds`` how much more of it has come.
    """

    utterance: int
    start: float
    end: float
    words: tuple[Word, ...]
    n_certain: int
    language: str
    heard_seconds: float
    lag_seconds: float

    @property
    def text(self) -> str:
        """The text of ``words``."""
        return "".join(word.word for word in self.words).strip()


@dataclass(frozen=True)
class Final:
    """The text of an utterance, which is never revised; "" if it was not speech after all.

    ``is_cut``: speech may go on in the next utterance, because this one became too long or was
    ended by a flush (``is_flushed``). ``confidence`` is the mean probability of the words.
    """

    utterance: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    language: str
    language_probability: float
    is_cut: bool
    is_flushed: bool
    lag_seconds: float

    @property
    def confidence(self) -> float:
        """Mean probability of the words, in [0, 1]; 0.0 without words."""
        return sum(word.probability for word in self.words) / max(1, len(self.words))


@dataclass(frozen=True)
class Failed:
    """The text of an utterance could not be had, for ``error``. The session goes on."""

    utterance: int
    start: float
    end: float
    error: WhisperOxError


Event = SpeechStarted | SpeechEnded | Partial | Final | Failed


class EventLog:
    """The latest events, numbered from 1. Partials that are out of date are left out."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}
        self._last = 0
        self._n_read = 0
        self._is_closed = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def last(self) -> int:
        """The number of the latest event; 0 before the first."""
        return self._last

    @property
    def n_unread(self) -> int:
        """Events kept that no reader has taken."""
        return sum(number > self._n_read for number in self._events)

    def add(self, event: Event) -> None:
        """Number an event and wake the readers."""
        if isinstance(event, Partial | Final | Failed):
            outdated = [n for n, old in self._events.items() if isinstance(old, Partial)]
            for number in outdated:
                del self._events[number]
        self._last += 1
        self._events[self._last] = event
        if len(self._events) > MOST_KEPT:
            del self._events[next(iter(self._events))]
        self._wake()

    def close(self) -> None:
        """Let readers end after the last event."""
        self._is_closed = True
        self._wake()

    def keeps_all_since(self, number: int) -> bool:
        """Whether no event after ``number`` but outdated partials has been left out."""
        return number <= self._last and (
            len(self._events) < MOST_KEPT or number >= next(iter(self._events)) - 1
        )

    async def since(self, number: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """Every event after ``number`` with its own number, also those to come."""
        while True:
            ready = next((n for n in self._events if n > number), None)
            if ready is not None:
                number = ready
                self._n_read = max(self._n_read, number)
                yield number, self._events[number]
            elif self._is_closed:
                return
            else:
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
