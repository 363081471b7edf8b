"""How fast the machine is just now: the same requests, sent in the same way every time.

A shared host gives its machines more or less from one minute to the next. What a server reaches
with this probe at calibration and beside a later measurement tells how much of a difference is the
machine's. Temperature 0, so that no chance is in it.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from loadtest.dictation import Habit
from loadtest.load import Outcome, Post, closed_loop, served_rate
from loadtest.options import contract_options
from loadtest.utterances import Utterance, speech_of
from serve_app.errors import WhisperOxError

CHUNK_SECONDS = 15.0
CLIENTS_PER_WORKER = 2
SECONDS = 30.0


def probe_rtfx(url: str, model: str, workers: int) -> float:
    """Audio seconds per second of the server at ``url``, which nobody else uses meanwhile.

    Raises ``WhisperOxError`` where a request fails.
    """
    speech = speech_of(Habit(CHUNK_SECONDS))
    said = (speech.utterance(CHUNK_SECONDS, number) for number in itertools.count())
    options = {**contract_options(model, "en", batch_size=8), "temperature": 0}
    clients = CLIENTS_PER_WORKER * workers
    return served_rate(keep_busy(url, said, options, clients=clients, seconds=SECONDS))


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
