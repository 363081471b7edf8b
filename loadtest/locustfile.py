"""Locust users that act like the speech service in front of Whisper OX, and some that do not.

``locust -f loadtest/locustfile.py -H http://127.0.0.1:8000 --levels 8:120 DictatingUser`` opens
locust's own page; ``python -m loadtest.run`` runs it without one and reports. A user is a person
whose speech the service buffers and posts in chunks (:mod:`loadtest.dictation`). Requests are sent
when they are due, whether or not earlier ones have been answered, and latency counts from then. The
key comes from ``WHISPER_API_KEY`` and ``WHISPER_API_KEY_HEADER``.

gevent patches only this process, where "in the background" means in a greenlet.
"""

import argparse
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]  # it has no types
import httpx
from gevent.pool import Group  # type: ignore[import-untyped]  # it has no types
from locust import LoadTestShape, User, events

from loadtest.chunks import Speech, speech_wav
from loadtest.client import TIMEOUT_SECONDS, transcribe
from loadtest.dictation import Piece, level_at, strangers
from loadtest.load import KEEPALIVE_SECONDS
from loadtest.load_plan import LoadPlan
from loadtest.options import english_options
from loadtest.sent import BAD, DICTATION, LONG_FILE, STRANGER, Sent, write_sent
from serve_app.errors import WhisperOxError

LEAD_SECONDS = 1.0
"""Seconds from locust's start to the load's. Every user of the first level exists by then."""

LONG_FILE_PAUSE_SECONDS = 5.0
BAD_REQUEST_PAUSE_SECONDS = 3.0


class Load:
    """What the users of one run share: the clock, the speech, the connections, the records."""

    def __init__(self, plan: LoadPlan, records: str) -> None:
        """``records`` is the file to which every request is written at the end, if any."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for every request
        self.plan = plan
        self.levels, self.seconds = plan.steps, plan.seconds
        self.speech = Speech.of(plan.habit)
        self.options = english_options(plan.model)
        self.long_file = speech_wav(plan.long_file_seconds) if plan.long_files else b""
        self._records = records
        self._sent: list[Sent] = []
        self._http = httpx.Client(
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS),
        )
        self._greenlets = Group()
        self._under_way: dict[int, Sent] = {}
        self._numbers = itertools.count()
        self._origin: float | None = None
        self._began_unix = self._cpu_seconds = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self._origin = time.perf_counter() + LEAD_SECONDS
        self._began_unix = time.time() + LEAD_SECONDS
        self._cpu_seconds = time.process_time()

    def now(self) -> float:
        """Seconds since the load began; negative before that."""
        return -LEAD_SECONDS if self._origin is None else time.perf_counter() - self._origin

    def send(
        self, environment: Any, planned: Sent, audio: bytes, options: Mapping[str, Any]
    ) -> Any:
        """Post in the background; the greenlet. Each request ends once, whatever happens to it."""
        number = next(self._numbers)
        self._under_way[number] = planned

        def ask() -> None:
            posted = self.now()
            found: dict[str, Any]
            try:
                reply = transcribe(environment.host, audio, options, self._http)
                retry_after = reply.headers.get("retry-after")
                found = {
                    "status": reply.status,
                    "retry_after": float(retry_after) if retry_after else None,
                }
                found["text"] = reply.text
            except WhisperOxError as refused:
                found["error"] = refused.message
            except Exception as broken:  # of the connection, or else a bug, which must not hide it
                found = {"error": f"{type(broken).__name__}: {broken}"}
            self._end(environment, number, posted=posted, **found)

        return self._greenlets.spawn(ask)

    def end(self, environment: Any) -> None:
        """Wait for the answers that are due. An answer that does not come in time is an error."""
        seconds = self.plan.drain_seconds
        self._greenlets.join(timeout=seconds)
        for number in list(self._under_way):
            error = f"no answer {seconds:g} s after the end of the load"
            self._end(environment, number, error=error)
        self._greenlets.kill(block=False)
        if self._records:
            used = time.process_time() - self._cpu_seconds
            about = {"began_unix": self._began_unix, "sender_cpu_seconds": used}
            write_sent(Path(self._records), about, self._sent)

    def _end(self, environment: Any, number: int, **found: Any) -> None:
        planned = self._under_way.pop(number, None)
        if planned is None:
            return  # given up before
        sent = replace(planned, ended=self.now(), **found)
        self._sent.append(sent)
        problem = None if sent.is_as_it_should_be else f"{sent.status} {sent.error}"
        environment.events.request.fire(
            request_type="POST",
            name=sent.kind,
            response_time=sent.latency * 1000,
            response_length=len(sent.text or ""),
            exception=problem and WhisperOxError(problem[:200]),
            context={},
        )


class _PacedUser(User):  # type: ignore[misc]  # locust has no types for us
    """Sends its requests when they are due."""

    abstract = True
    kind = ""
    numbers = itertools.count()
    pieces: Callable[..., Iterator[Piece]]
    """The requests of this user, without end."""

    def on_start(self) -> None:
        """Begin now, or with everyone else."""
        self.load: Load = self.environment.whisper_ox
        self.origin = max(0.0, self.load.now())
        self.coming = self.pieces()
        self.next = next(self.coming)

    def wait_time(self) -> float:
        """Seconds until the next request is due."""
        seconds: float = self.origin + self.next.due - self.load.now()
        return max(0.0, seconds)

    def send_what_is_due(self) -> None:
        """Called by locust after each wait, and once at the start."""
        load = self.load
        while (due := self.origin + self.next.due) <= load.now():
            piece, self.next = self.next, next(self.coming)
            if due < load.seconds:
                said = load.speech.chunk(piece.seconds, piece.pick)
                planned = Sent(self.kind, due, said.seconds, said.text, piece.is_final)
                load.send(self.environment, planned, said.audio, load.options)

    tasks = [send_what_is_due]  # noqa: RUF012  # so locust wants it


class DictatingUser(_PacedUser):
    """A person who dictates and thinks; the service posts each chunk as it fills."""

    kind = DICTATION

    def pieces(self) -> Iterator[Piece]:
        """See :class:`loadtest.dictation.Habit`."""
        return self.load.plan.habit.pieces(self.load.plan.seed, next(self.numbers))


class Strangers(_PacedUser):
    """Many people in one user: an open loop of Poisson arrivals of single chunks."""

    kind = STRANGER
    fixed_count = 1

    def pieces(self) -> Iterator[Piece]:
        """See :func:`loadtest.dictation.strangers`."""
        plan = self.load.plan
        seconds = plan.chunk or plan.dictation_seconds
        return strangers(plan.strangers_per_minute, seconds, plan.seed)


class _PatientUser(User):  # type: ignore[misc]  # locust has no types for us
    """Sends one request after the other, with a pause between them."""

    abstract = True
    pause_seconds = 0.0
    requests: Callable[..., Iterator[tuple[Sent, bytes, Mapping[str, Any]]]]
    """What it sends, without end: the plan, the audio and the options."""

    def on_start(self) -> None:
        """Begin with the first request."""
        self.load: Load = self.environment.whisper_ox
        self.coming = self.requests()

    def wait_time(self) -> float:
        """A pause after each answer."""
        return max(self.pause_seconds, -self.load.now())

    def send_one(self) -> None:
        """Called by locust after each pause."""
        if 0 <= self.load.now() < self.load.seconds:
            gevent.joinall([self.load.send(self.environment, *next(self.coming))])

    tasks = [send_one]  # noqa: RUF012  # so locust wants it


class LongFileUser(_PatientUser):
    """Uploads long recordings, one after the other."""

    pause_seconds = LONG_FILE_PAUSE_SECONDS

    def requests(self) -> Iterator[tuple[Sent, bytes, Mapping[str, Any]]]:
        """The whole file."""
        load = self.load
        while True:
            planned = Sent(LONG_FILE, load.now(), load.plan.long_file_seconds)
            yield planned, load.long_file, load.options


class BadClientUser(_PatientUser):
    """Sends requests that must be refused. Only the right refusal counts as success."""

    pause_seconds = BAD_REQUEST_PAUSE_SECONDS

    def requests(self) -> Iterator[tuple[Sent, bytes, Mapping[str, Any]]]:
        """One of each kind, in a circle."""
        speech = speech_wav(2.0)
        kinds: list[tuple[int, bytes, dict[str, Any]]] = [
            (400, b"", {}),
            (415, b"this is not audio at all", {}),
            (400, speech[: len(speech) // 2], {}),
            (422, speech, {"task": "sing"}),
            (422, speech, {"beam_size": 0}),
        ]
        for expected, audio, options in itertools.cycle(kinds):
            yield Sent(BAD, self.load.now(), 0.0, expected=expected), audio, options


class Levels(LoadTestShape):  # type: ignore[misc]  # locust has no types for us
    """The numbers of users that ``--levels`` names, one after the other, then the end."""

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be now; None ends the run."""
        load: Load = self.runner.environment.whisper_ox
        number = level_at(load.levels, load.now())
        if number is None:
            return None
        fixed = sum(kind.fixed_count for kind in self.runner.user_classes)
        users = load.levels[number].users + fixed
        return users, max(1, users)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags apart from locust's own."""
    LoadPlan.add_arguments(parser)
    parser.add_argument("--records", default="", help="write every request to this file")


def prepare(environment: Any, **_: Any) -> None:
    """Prepare the speech before the first user starts."""
    given = environment.parsed_options
    LongFileUser.fixed_count, BadClientUser.fixed_count = given.long_files, given.bad_clients
    environment.whisper_ox = Load(LoadPlan.of(given), given.records)


events.init_command_line_parser.add_listener(add_arguments)
events.init.add_listener(prepare)
events.test_start.add_listener(lambda environment, **_: environment.whisper_ox.begin())
events.test_stop.add_listener(lambda environment, **_: environment.whisper_ox.end(environment))
