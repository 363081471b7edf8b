"""What the users of one locust run share: the clock, the speech, the connections, the journal.

For the process of :mod:`loadtest.locustfile`, which gevent has patched: "in the background" is a
greenlet.
"""

import argparse
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from gevent.pool import Group  # type: ignore[import-untyped]  # it has no types

from loadtest.bad_requests import bad_requests
from loadtest.client import TIMEOUT_SECONDS
from loadtest.dialects import Answer, Dialect, dialect
from loadtest.dictation import Habit, Level, parse_levels
from loadtest.journal import Journal, Sent
from loadtest.load import KEEPALIVE_SECONDS
from loadtest.utterances import Speech, speech_of
from loadtest.wav import speech_wav
from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey

Ended = Callable[[Sent], None]

LEAD_SECONDS = 1.0
"""From locust's start until the load begins: every user of the first level is there by then."""


class InFlight:
    """Requests under way. Each ends exactly once, whatever happens to it: ``ended`` is called."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._greenlets = Group()
        self._numbers = itertools.count()
        self._under_way: dict[int, tuple[Sent, Ended]] = {}

    def send(self, planned: Sent, ask: Callable[[], Answer], ended: Ended) -> Any:
        """Call ``ask`` in the background; the greenlet."""
        number = next(self._numbers)
        self._under_way[number] = (planned, ended)
        return self._greenlets.spawn(self._send, number, planned, ask)

    def end(self, seconds: float) -> None:
        """Wait so long for the answers that are due; one that does not come is an error."""
        self._greenlets.join(timeout=seconds)
        error = f"no answer {seconds:g} s after the end of the load"
        for number, (planned, _) in list(self._under_way.items()):
            self._end(number, replace(planned, ended=self._now(), error=error))
        self._greenlets.kill(block=False)

    def _send(self, number: int, planned: Sent, ask: Callable[[], Answer]) -> None:
        posted = self._now()
        try:
            answer = ask()
            outcome = replace(
                planned,
                status=answer.status,
                code=answer.code,
                text=answer.text,
                error=answer.error,
                retry_after=answer.retry_after,
            )
        except Exception as broken:  # of the connection, or else a bug, which must not hide it
            outcome = replace(planned, error=f"{type(broken).__name__}: {broken}")
        self._end(number, replace(outcome, posted=posted, ended=self._now()))

    def _end(self, number: int, outcome: Sent) -> None:
        """An answer that comes after the request was given up is not counted besides."""
        if under_way := self._under_way.pop(number, None):
            under_way[1](outcome)


class Load:
    """One run, as the flags of the command line say it."""

    def __init__(self, given: argparse.Namespace) -> None:
        key = ApiKey.from_environment()
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for every request
        self.levels: list[Level] = parse_levels(given.levels)
        self.seconds = sum(level.seconds for level in self.levels)
        self.given = given
        self.habit = Habit(given.chunk_seconds, given.speaking_share, given.dictation_seconds)
        self.speech: Speech = speech_of(self.habit)
        self.dialect: Dialect = dialect(given.dialect, given.speech_model)
        self.http = httpx.Client(
            headers=self.dialect.headers(key),
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS),
        )
        self.bad = bad_requests(key.header if key.key else None) if given.bad_clients else []
        self.long_file = speech_wav(given.long_file_seconds) if given.long_files else b""
        self.journal = Journal(Path(given.journal)) if given.journal else None
        self._in_flight = InFlight(self.now)
        self._counts: dict[str, int] = {}
        self._origin: float | None = None
        self._cpu_seconds = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self._origin = time.perf_counter() + LEAD_SECONDS
        if self.journal:
            self.journal.begin({"began_unix": time.time() + LEAD_SECONDS})
        self._cpu_seconds = time.process_time()

    def now(self) -> float:
        """Seconds since the load began; negative before that."""
        if self._origin is None:
            return -LEAD_SECONDS
        return time.perf_counter() - self._origin

    def next_user(self, kind: str) -> int:
        """A number that no other user of this kind has."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return number

    def send(self, environment: Any, planned: Sent, ask: Callable[[], Answer]) -> Any:
        """Send in the background; journal and locust's statistics get what comes of it."""
        return self._in_flight.send(planned, ask, lambda sent: self._note(environment, sent))

    def end(self) -> None:
        """Wait for the answers that are due; what does not come in time is an error."""
        self._in_flight.end(self.given.drain_seconds)
        if self.journal:
            self.journal.end({"sender_cpu_seconds": time.process_time() - self._cpu_seconds})

    def _note(self, environment: Any, outcome: Sent) -> None:
        problem = None if outcome.is_as_it_should_be else f"{outcome.status} {outcome.error}"
        environment.events.request.fire(
            request_type="POST",
            name=outcome.kind,
            response_time=outcome.latency * 1000,
            response_length=len(outcome.text or ""),
            exception=problem and WhisperOxError(problem[:200]),
            context={},
        )
        if self.journal:
            self.journal.add(outcome)
