"""How fast a server is right now: the same requests, sent in the same way every time.

A shared host gives its machines more or less from one minute to the next, on some by a fifth.
Compare what a server reaches with this probe to what the simulation of a profile reaches with it:
that shows how much of a difference comes from the machine.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

from loadtest.capacity.cluster import Cluster, served_rtfx
from loadtest.capacity.profile import MachineProfile
from loadtest.chunks import Chunk, Speech
from loadtest.dictation import Habit, Piece
from loadtest.load import Outcome, Span, closed_loop, posts_of, rate_between, transcribed
from loadtest.options import english_options

CHUNK_SECONDS = 15.0
CLIENTS_PER_WORKER = 2
SECONDS = 30.0


def keep_busy(
    url: str, model: str, said: Iterator[Chunk], clients: int, seconds: float
) -> Sequence[Outcome]:
    """``clients`` post one chunk after the other for ``seconds``.

    Raises ``WhisperOxError`` where a request fails.
    """
    posts = posts_of(said, english_options(model), seconds=seconds)
    return transcribed(asyncio.run(closed_loop(url, posts, clients)))


def rate_of(outcomes: Sequence[Outcome], from_seconds: float, until: float) -> float:
    """Audio seconds per second between two times after the first post."""
    began = min(outcome.began for outcome in outcomes)
    spans = [Span(o.client, o.began, o.ended, o.seconds) for o in outcomes]
    return rate_between(spans, began + from_seconds, began + until)


def speed_of(url: str, profile: MachineProfile) -> float:
    """How many times as fast as ``profile`` the server at ``url`` is. Nobody else may use it.

    Raises ``WhisperOxError`` if a request fails.
    """
    speech = Speech.of(Habit(CHUNK_SECONDS))
    said = (speech.chunk(CHUNK_SECONDS, number) for number in itertools.count())
    clients = CLIENTS_PER_WORKER * profile.workers
    outcomes = keep_busy(url, profile.model, said, clients, SECONDS)
    return rate_of(outcomes, 0.0, SECONDS) / simulated_rtfx(profile, clients)


def simulated_rtfx(profile: MachineProfile, clients: int) -> float:
    """What ``profile`` reaches with the probe's requests, in audio seconds per second."""
    pieces = (Piece(0.0, CHUNK_SECONDS, number) for number in itertools.count())
    return served_rtfx(Cluster(profile).closed_loop(clients, pieces, SECONDS), 0.0)
