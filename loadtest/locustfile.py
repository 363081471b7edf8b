"""Locust users that act as the speech service in front of Whisper OX does, and some that do not.

``locust -f loadtest/locustfile.py -H http://127.0.0.1:8000 --levels 8:120 DictatingUser`` opens
locust's own page; ``python -m loadtest.run`` runs it headless and reports. A user is a person whose
speech the service buffers and posts in chunks (:mod:`loadtest.dictation`); requests are sent when
they are due, whether or not earlier ones have been answered, and latency counts from when they were
due. The key comes from ``WHISPER_API_KEY`` and ``WHISPER_API_KEY_HEADER``.

Only this process is patched by gevent.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gevent  # type: ignore[import-untyped]  # it has no types
from locust import LoadTestShape, User, events

from loadtest.bad_requests import BadRequest
from loadtest.dialects import Answer
from loadtest.dictation import Piece, level_at, strangers
from loadtest.journal import BAD, DICTATION, LONG_FILE, STRANGER, Sent
from loadtest.sending import Load

LONG_FILE_PAUSE_SECONDS = 5.0
BAD_REQUEST_PAUSE_SECONDS = 3.0


class _PacedUser(User):  # type: ignore[misc]  # locust has no types for us
    """Sends its requests when they are due."""

    abstract = True
    kind = ""

    def on_start(self) -> None:
        """Take a number and begin now, or with everyone else."""
        load: Load = self.environment.whisper_ox
        self.load = load
        self.number = load.next_user(self.kind)
        self.origin = max(0.0, load.now())
        self.plan = self.pieces()
        self.next = next(self.plan)

    def wait_time(self) -> float:
        """Until the next request is due."""
        return max(0.0, self.origin + self.next.due - self.load.now())

    def pieces(self) -> Iterator[Piece]:
        """What this user sends, without end."""
        raise NotImplementedError

    def send_what_is_due(self) -> None:
        """Locust calls it after each wait, and once at the start."""
        while (due := self.origin + self.next.due) <= self.load.now():
            piece, self.next = self.next, next(self.plan)
            if due < self.load.seconds:
                self.send(due, piece)

    def send(self, due: float, piece: Piece) -> None:
        """Post one piece in the background."""
        load = self.load
        said = load.speech.utterance(piece.seconds, piece.pick)
        url = self.environment.host
        planned = Sent(
            self.kind,
            self.number,
            due=due,
            posted=due,
            ended=due,
            seconds=said.seconds,
            is_final=piece.is_final,
            reference=said.text,
        )
        load.send(self.environment, planned, lambda: load.dialect.ask(load.http, url, said.audio))

    tasks = [send_what_is_due]  # noqa: RUF012  # so locust wants it


class DictatingUser(_PacedUser):
    """A person who dictates and thinks; the service posts each chunk as it fills."""

    kind = DICTATION

    def pieces(self) -> Iterator[Piece]:
        """See :class:`loadtest.dictation.Habit`."""
        return self.load.habit.pieces(self.load.given.seed, self.number)


class Strangers(_PacedUser):
    """Many people in one: an open loop of Poisson arrivals of single chunks."""

    kind = STRANGER
    fixed_count = 1

    def pieces(self) -> Iterator[Piece]:
        """See :func:`loadtest.dictation.strangers`."""
        given = self.load.given
        seconds = given.chunk_seconds or given.dictation_seconds
        return strangers(given.strangers_per_minute, seconds, given.seed)


class _PatientUser(User):  # type: ignore[misc]  # locust has no types for us
    """Sends one request after the other, with a pause between them."""

    abstract = True
    kind = ""
    pause_seconds = 0.0

    def on_start(self) -> None:
        """Take a number."""
        load: Load = self.environment.whisper_ox
        self.load = load
        self.number = load.next_user(self.kind)

    def wait_time(self) -> float:
        """A pause after each answer."""
        return max(self.pause_seconds, -self.load.now())

    def request(self) -> tuple[Sent, Callable[[], Answer]]:
        """The next one."""
        raise NotImplementedError

    def send_one(self) -> None:
        """Locust calls it after each pause."""
        if 0 <= self.load.now() < self.load.seconds:
            planned, ask = self.request()
            gevent.joinall([self.load.send(self.environment, planned, ask)])

    tasks = [send_one]  # noqa: RUF012  # so locust wants it


class LongFileUser(_PatientUser):
    """Uploads long recordings, one after the other."""

    kind = LONG_FILE
    pause_seconds = LONG_FILE_PAUSE_SECONDS

    def request(self) -> tuple[Sent, Callable[[], Answer]]:
        """The whole file."""
        load, now, url = self.load, self.load.now(), self.environment.host
        seconds = load.given.long_file_seconds
        planned = Sent(self.kind, self.number, now, now, now, seconds)
        return planned, lambda: load.dialect.ask(load.http, url, load.long_file)


class BadClientUser(_PatientUser):
    """Sends what must be refused; only the right refusal counts as success."""

    kind = BAD
    pause_seconds = BAD_REQUEST_PAUSE_SECONDS

    def on_start(self) -> None:
        """Begin with the first kind."""
        super().on_start()
        self.kinds: Iterator[BadRequest] = itertools.cycle(self.load.bad)

    def request(self) -> tuple[Sent, Callable[[], Answer]]:
        """The next kind."""
        bad, now, url = next(self.kinds), self.load.now(), self.environment.host
        planned = Sent(self.kind, self.number, now, now, now, 0.0, expected=bad.expected)
        return planned, lambda: bad.post(self.load.http, url)


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
    """Flags besides locust's own."""
    ours = parser.add_argument_group("Whisper OX")
    ours.add_argument("--levels", default="8:120", help="USERS:SECONDS, one after the other")
    ours.add_argument("--chunk-seconds", type=float, default=15.0, help="0: whole dictations")
    ours.add_argument("--speaking-share", type=float, default=0.5)
    ours.add_argument("--dictation-seconds", type=float, default=60.0)
    ours.add_argument("--strangers-per-minute", type=float, default=6.0)
    ours.add_argument("--long-files", type=int, default=0, help="users who upload long files")
    ours.add_argument("--long-file-seconds", type=float, default=600.0)
    ours.add_argument("--bad-clients", type=int, default=0, help="users who send bad requests")
    ours.add_argument("--speech-model", default="base", help="decides the options that are sent")
    ours.add_argument(
        "--dialect", default="contract", help="contract, contract:once, openai, openai:MODEL"
    )
    ours.add_argument("--drain-seconds", type=float, default=120.0, help="for the last answers")
    ours.add_argument("--seed", type=int, default=0)
    ours.add_argument("--journal", default="", help="write every request to this file")


def prepare(environment: Any, **_: Any) -> None:
    """Make the speech before the first user comes."""
    given = environment.parsed_options
    LongFileUser.fixed_count, BadClientUser.fixed_count = given.long_files, given.bad_clients
    environment.whisper_ox = Load(given)


events.init_command_line_parser.add_listener(add_arguments)
events.init.add_listener(prepare)
events.test_start.add_listener(lambda environment, **_: environment.whisper_ox.begin())
events.test_stop.add_listener(lambda environment, **_: environment.whisper_ox.end())
