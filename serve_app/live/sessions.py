"""Every live session of one process: how many there may be, and who may come back to one."""

import asyncio
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from serve_app import metrics
from serve_app.errors import Overloaded, QuotaExceeded, SessionGone
from serve_app.service import LiveLoad
from serve_app.settings import LiveSettings


class Closable(Protocol):
    """What a protocol holds for one session."""

    async def close(self) -> None:
        """End the session at once."""


RETRY_SECONDS = 10.0
"""Sessions last for minutes, so there is no point in coming back at once."""

ENDED_SECONDS = 60.0
"""For how long the model's replicas may still count a session that has ended, and more."""

SPEAKING_SECONDS = 30.0
"""For how long after its latest audio a session counts as one in which somebody may be speaking. A
client may rest for hours between two recordings."""

Held = TypeVar("Held", bound=Closable)


@dataclass(eq=False)
class Place(Generic[Held]):
    """One session's place.

    Audio last came at ``heard_at``, a time of the event loop, or the session began or was resumed.
    ``taken_over`` is set once another connection has resumed it; ``expiry`` ends it, unless its
    client comes back.
    """

    id: str
    key: str
    held: Held
    heard_at: float
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    expiry: asyncio.TimerHandle | None = None


class Sessions:
    """The places of one process. Not thread-safe: for one event loop."""

    def __init__(self, settings: LiveSettings, sink: metrics.Sink = metrics.NO_METRICS) -> None:
        self._settings = settings
        self._sink = sink
        self._places: dict[str, Place[Closable]] = {}
        self._ended: dict[str, float] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._note()

    def check(self, key: str, load: LiveLoad) -> None:
        """Raise ``Overloaded`` or ``QuotaExceeded`` if ``key`` may not begin another session.

        Sessions that wait for their clients do not count, and those that have sent no audio lately
        only against the settings.
        """
        connected = [place for place in self._places.values() if place.expiry is None]
        waiting = self._places.keys() - {place.id for place in connected}
        earliest = _now() - SPEAKING_SECONDS
        speaking = {place.id for place in connected if place.heard_at > earliest}
        n_speaking = len(speaking | (load.sessions - waiting - self._ended.keys()))
        if n_speaking and n_speaking + 1 > load.capacity:
            raise Overloaded(
                f"{n_speaking} live sessions send audio, and the model can follow about "
                f"{load.capacity:.0f} people who speak at once. Begin this one later.",
                retry_after_seconds=RETRY_SECONDS,
            )
        if len(connected) >= self._settings.sessions:
            raise Overloaded(
                f"{len(connected)} live sessions are open, the most that this server takes. "
                "Begin this one later.",
                retry_after_seconds=RETRY_SECONDS,
            )
        n_of_key = sum(place.key == key for place in connected)
        if key and n_of_key >= self._settings.sessions_per_key:
            raise QuotaExceeded(
                f"Live sessions of this API key at once: at most "
                f"{self._settings.sessions_per_key}. End another one first."
            )

    def open(self, session_id: str, key: str, held: Held) -> Place[Held]:
        """Give a session its place, after :meth:`check`.

        If there is none left, the one that has waited longest for its client ends.
        """
        waiting = [place for place in self._places.values() if place.expiry is not None]
        if waiting and len(self._places) >= self._settings.sessions:
            longest = min(waiting, key=lambda place: place.expiry.when() if place.expiry else 0.0)
            self._expire(longest)
        place = Place(session_id, key, held, _now())
        self._places[session_id] = place  # type: ignore[assignment]  # invariant
        self._note()
        return place

    def hear(self, session_id: str) -> None:
        """Note that audio has come in a session."""
        if (place := self._places.get(session_id)) is not None:
            place.heard_at = _now()

    def leave(self, place: Place[Held]) -> None:
        """The connection has dropped: keep the session for a while for its client to come back."""
        if place.taken_over.is_set() or place.id not in self._places:
            return
        loop = asyncio.get_running_loop()
        place.expiry = loop.call_later(self._settings.resume_seconds, self._expire, place)

    def find(self, session_id: str, key: str, kind: type[Held]) -> Place[Held]:
        """The place of a session that may be resumed.

        Raises ``SessionGone`` if there is none with this id that ``key`` has begun.
        """
        old = self._places.get(session_id)
        if old is None or old.key != key or not isinstance(old.held, kind):
            raise SessionGone(
                "There is no such live session here. It has ended, waited too long for its client, "
                "or is held by another process of the server. Begin a new one.",
                field="session",
            )
        return old  # type: ignore[return-value]  # its kind has just been checked

    def resume(self, session_id: str, key: str, kind: type[Held], load: LiveLoad) -> Place[Held]:
        """Take over a session. A connection that still serves it is told to stop.

        Raises what :meth:`find` raises. A session that waits for its client has no place among the
        others, so it also raises what :meth:`check` raises.
        """
        old = self.find(session_id, key, kind)
        if old.expiry is not None:
            self.check(key, load)
        old.taken_over.set()
        if old.expiry is not None:
            old.expiry.cancel()
        place = Place(session_id, key, old.held, _now())
        self._places[session_id] = place  # type: ignore[assignment]  # invariant
        return place

    async def end(self, place: Place[Held]) -> None:
        """Give the place up and close the session."""
        if not place.taken_over.is_set() and self._places.pop(place.id, None) is not None:
            self._forget(place.id)
            await place.held.close()

    def _expire(self, place: Place[Held]) -> None:
        if self._places.pop(place.id, None) is not None:
            if place.expiry is not None:
                place.expiry.cancel()
            self._forget(place.id)
            closing = asyncio.get_running_loop().create_task(place.held.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _forget(self, session_id: str) -> None:
        """A session has ended, which the model's replicas learn only from its silence."""
        now = _now()
        self._ended = {one: at for one, at in self._ended.items() if now - at < ENDED_SECONDS}
        self._ended[session_id] = now
        self._note()

    def _note(self) -> None:
        self._sink.set(metrics.LIVE_SESSIONS, len(self._places))


def _now() -> float:
    return asyncio.get_running_loop().time()
