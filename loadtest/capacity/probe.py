"""How fast a server is just now: the same requests, sent in the same way every time.

A shared host gives its machines more or less from one minute to the next, a fifth on the one where
this was written. What a server reaches with this probe, beside what the simulation of a profile
reaches with it, tells how much of a difference is the machine's. Temperature 0, so that no chance
is in it.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from loadtest.capacity.cluster import Cluster, served_rtfx
from loadtest.capacity.profile import MachineProfile
from loadtest.dictation import Habit, Piece
from loadtest.load import Outcome, Post, Span, closed_loop, rate_between
from loadtest.options import english_options
from loadtest.utterances import Utterance, speech_of
from serve_app.errors import WhisperOxError

CHUNK_SECONDS = 15.0
CLIENTS_PER_WORKER = 2
SECONDS = 30.0


def speed_of(url: str, profile: MachineProfile) -> float:
    """How many times as fast as ``profile`` the server at ``url`` is, which nobody else uses.

    Raises ``WhisperOxError`` where a request fails.
    """
    speech = speech_of(Habit(CHUNK_SECONDS))
    said = (speech.utterance(CHUNK_SECONDS, number) for number in itertools.count())
    options = english_options(profile.model, once=True)
    clients = CLIENTS_PER_WORKER * profile.workers
    outcomes = keep_busy(url, said, options, clients=clients, seconds=SECONDS)
    began = min(outcome.began for outcome in outcomes)
    spans = [Span(o.client, o.began, o.ended, o.seconds) for o in outcomes]
    return rate_between(spans, began, began + SECONDS) / simulated_rtfx(profile, clients)


class SpeedWatch:
    """The server's speed between one measurement and the next, as a share of the profile's."""

    def __init__(self, url: str, profile: MachineProfile) -> None:
        self._url = url
        self.profile = profile
        self._probe()  # warms up
        self._latest = self._probe()

    def seen(self) -> tuple[float, MachineProfile]:
        """Mean speed before and after what has been measured since, and the profile at it."""
        before, self._latest = self._latest, self._probe()
        speed = (before + self._latest) / 2
        return speed, self.profile.at_speed(speed)

    def now(self) -> MachineProfile:
        """The profile at the speed that was found last."""
        return self.profile.at_speed(self._latest)

    def _probe(self) -> float:
        return speed_of(self._url, self.profile)


def simulated_rtfx(profile: MachineProfile, clients: int) -> float:
    """What ``profile`` reaches with the probe's requests, audio seconds per second."""
    pieces = (Piece(0.0, CHUNK_SECONDS, number) for number in itertools.count())
    cluster = Cluster(profile.without_fallback())
    return served_rtfx(cluster.closed_loop(clients, pieces, SECONDS), 0.0)


def keep_busy(
    url: str,
    said: Iterable[Utterance],
    options: Mapping[str, Any],
    *,
    clients: int,
    seconds: float,
) -> list[Outcome]:
    """``clients`` post one utterance after the other for ``seconds``, without pauses.

    Raises ``WhisperOxError`` where a request fails.
    """
    deadline = time.perf_counter() + seconds

    def posts() -> Iterator[Post]:
        for number, one in enumerate(said):
            if time.perf_counter() >= deadline:
                return
            yield Post(number, one.audio, options, one.seconds)

    outcomes = asyncio.run(closed_loop(url, posts(), clients))
    failed = [outcome.error for outcome in outcomes if not outcome.is_transcript]
    if failed:
        raise WhisperOxError(f"{len(failed)} requests failed, the first with: {failed[0]}")
    return outcomes
