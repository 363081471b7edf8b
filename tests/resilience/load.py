"""Load on a server while a test does something to it."""

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from loadtest.load import Outcome, Post, closed_loop
from tests.conditions import eventually

LOST_SECONDS = 120.0


def failed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes without a transcript."""
    return [outcome for outcome in outcomes if not outcome.is_transcript]


class Load:
    """``clients`` that post the same audio in a closed loop; see :func:`loaded`."""

    def __init__(self, audio: bytes) -> None:
        self.outcomes: list[Outcome] = []
        self._audio = audio
        self._n_posted = 0
        self._ended = threading.Event()

    def posts(self) -> Iterator[Post]:
        for number in itertools.count():
            if self._ended.is_set():
                return
            self._n_posted += 1
            yield Post(number, self._audio, {"temperature": 0}, 1.0, give_up_seconds=LOST_SECONDS)

    def goes_on(self) -> None:
        """Wait until new requests have been posted and answered."""
        enough = self._n_posted + 6
        eventually(lambda: self._n_posted >= enough)

    def end(self) -> None:
        self._ended.set()


@contextmanager
def loaded(url: str, audio: bytes, clients: int = 3) -> Iterator[Load]:
    """Keep up the load during the block. Afterwards ``outcomes`` has every request's."""
    load = Load(audio)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            lambda: asyncio.run(closed_loop(url, load.posts(), clients, backoff_seconds=0.2))
        )
        try:
            load.goes_on()
            yield load
            load.goes_on()
        finally:
            load.end()
            load.outcomes.extend(run.result())
