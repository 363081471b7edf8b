"""How many replicas a crowd of users needs, what latency they will see, and what to refuse."""

import bisect
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from loadtest.capacity.cluster import Cluster, Result, served_rtfx
from loadtest.capacity.profile import MachineProfile
from loadtest.capacity.replica import UNBOUNDED, Bounds
from loadtest.dictation import Habit, Piece, strangers
from serve_app.errors import WhisperOxError
from serve_app.settings import AdmissionSettings

LONGEST_RUN_SECONDS = 3_600.0
WARM_UP_SHARE = 0.15

SATURATING_BATCHES = 3
"""A closed loop with this many decode batches per worker keeps every batch full."""

MOST_REPLICAS = 512

WAIT_BOUNDS = tuple(
    float(wait)
    for wait in (60, 50, 40, 35, 30, 26, 23, 20, 18, 16, 14, 12, 10, 8, 6, 5, 4, 3, 2, 1)
)
"""Steps of about a seventh. A wider one refuses fewer when BUSY people arrive in a bunch."""

OVERLOAD, BUSY = 1.5, 0.8
OVERLOAD_LATENCY = 2.0
"""The purpose of the bounds: at OVERLOAD times saturation, those who are accepted see a p95 of at
most this many times that at BUSY."""

PLACES_MARGIN, FEWEST_PLACES = 1.5, 16

ONGOING_PER_PLACE = 1.5
"""Requests that Serve lets through for each place in the engine. So clients see the engine's
refusals, which say when to come again. As in configs/dev.yaml."""


@dataclass(frozen=True)
class Effort:
    """How long a simulation goes on: about ``requests`` for each of ``seeds``, but at least
    ``least_seconds``.
    """

    requests: int = 4_000
    seeds: tuple[int, ...] = (0, 1, 2)
    least_seconds: float = 300.0


THOROUGH = Effort()


@dataclass(frozen=True)
class Question:
    """Who sends requests, and the p95 latency in seconds that they should see."""

    users: int
    habit: Habit = field(default_factory=Habit)
    p95_seconds: float = 5.0
    strangers_per_minute: float = 0.0
    spare_replicas: int = 0

    @property
    def offered_rtfx(self) -> float:
        """Audio seconds per second."""
        chunk = self.habit.chunk_seconds or self.habit.dictation_seconds
        own = self.users * self.habit.speaking_share
        return own + self.strangers_per_minute / 60 * chunk

    def pieces(self, seed: int) -> Iterator[Piece]:
        """Everybody's requests, in the order in which they are due."""
        chunk = self.habit.chunk_seconds or self.habit.dictation_seconds
        sources = [self.habit.pieces(seed, user) for user in range(self.users)]
        if self.strangers_per_minute > 0:
            sources.append(strangers(self.strangers_per_minute, chunk, seed))
        return heapq.merge(*sources, key=lambda piece: piece.due)


@dataclass(frozen=True)
class Expectation:
    """Latency in seconds, means over several runs, and the share that was refused."""

    p50: float
    p95: float
    p99: float
    refused_share: float
    most_open: int


@dataclass(frozen=True)
class Plan:
    """The answer. ``utilisation``: the offered load over what all replicas can do.

    ``users_per_replica`` saturate one replica. ``max_wait_seconds`` and ``max_requests`` are per
    replica, see :class:`serve_app.settings.AdmissionSettings` and ``max_concurrent_requests``.
    """

    replicas: int
    gpus: int
    cores: int
    offered_rtfx: float
    saturation_rtfx: float
    users_per_replica: float
    utilisation: float
    expected: Expectation
    max_wait_seconds: float
    max_requests: int
    busy_p95: float
    busy_refused_share: float
    overload_p95: float

    def patch(self) -> dict[str, Any]:
        """The keys of a Serve config that it decides, in the config's own shape."""
        return {
            "args": {
                "engine": {"max_concurrent_requests": self.max_requests},
                "admission": {"max_wait_seconds": self.max_wait_seconds},
            },
            "deployments": [
                {
                    "name": "Transcriber",
                    "num_replicas": self.replicas,
                    "max_ongoing_requests": math.ceil(ONGOING_PER_PLACE * self.max_requests),
                }
            ],
        }


def saturation_rtfx(profile: MachineProfile, habit: Habit) -> float:
    """Audio seconds per second of one replica whose queue is never empty."""
    clients = SATURATING_BATCHES * profile.workers * profile.decode_batch
    # One person's endless requests have the mix of lengths that everybody's have.
    pieces = habit.pieces(seed=0, user=0)
    seconds = 100.0
    while True:
        found = Cluster(profile).closed_loop(clients, pieces, seconds)
        if len(found.requests) > 11 * clients:
            return served_rtfx(found, WARM_UP_SHARE * seconds)
        seconds *= 3


def expect(
    profile: MachineProfile,
    question: Question,
    replicas: int = 1,
    bounds: Bounds = UNBOUNDED,
    effort: Effort = THOROUGH,
) -> Expectation:
    """What ``question``'s users see of ``replicas``.

    Raises ``WhisperOxError`` where nobody is answered.
    """
    runs = [
        _run(Cluster(profile, replicas, bounds, seed), question, effort, seed)
        for seed in effort.seeds
    ]
    found = [run.percentiles for run in runs]
    if not all(found):
        raise WhisperOxError("nobody was answered: too few requests came, or all were refused")
    return Expectation(
        p50=mean(one["p50"] for one in found),
        p95=mean(one["p95"] for one in found),
        p99=mean(one["p99"] for one in found),
        refused_share=mean(run.refused_share for run in runs),
        most_open=max(run.most_open for run in runs),
    )


def fewest_replicas(
    profile: MachineProfile, question: Question, saturation: float, effort: Effort = THOROUGH
) -> int:
    """The number of replicas that meets the question's p95, each with that ``saturation``.

    Raises ``WhisperOxError`` if no number is enough.
    """
    lone = expect(profile, Question(1, question.habit), effort=effort)
    if lone.p95 > question.p95_seconds:
        raise WhisperOxError(
            f"a p95 of {question.p95_seconds:g} s cannot be reached on {profile.name}: one user "
            f"alone sees {lone.p95:.2f} s. Allow more, take a smaller model or a faster machine"
        )
    least = max(1, math.ceil(question.offered_rtfx / saturation))
    for replicas in range(least, MOST_REPLICAS + 1):
        if expect(profile, question, replicas, effort=effort).p95 <= question.p95_seconds:
            return replicas
    raise WhisperOxError(f"more than {MOST_REPLICAS} replicas would be needed")


def make_plan(profile: MachineProfile, question: Question, effort: Effort = THOROUGH) -> Plan:
    """The fewest replicas whose p95 meets the question's, and bounds for them.

    Raises ``WhisperOxError`` where no number of replicas is enough.
    """
    if question.offered_rtfx <= 0:
        raise WhisperOxError("nobody comes: give --users or --strangers-per-minute")
    saturation = saturation_rtfx(profile, question.habit)
    replicas = fewest_replicas(profile, question, saturation, effort) + question.spare_replicas
    bounds, busy, overload = find_bounds(profile, question.habit, saturation, effort)
    return Plan(
        replicas=replicas,
        gpus=replicas if profile.device == "cuda" else 0,
        cores=replicas * profile.cores,
        offered_rtfx=question.offered_rtfx,
        saturation_rtfx=saturation,
        users_per_replica=saturation / question.habit.speaking_share,
        utilisation=question.offered_rtfx / (replicas * saturation),
        expected=expect(profile, question, replicas, bounds, effort),
        max_wait_seconds=bounds.admission.max_wait_seconds,
        max_requests=bounds.max_requests,
        busy_p95=busy.p95,
        busy_refused_share=busy.refused_share,
        overload_p95=overload.p95,
    )


def crowd(habit: Habit, rtfx: float) -> Question:
    """How many users send this many audio seconds per second."""
    return Question(max(1, round(rtfx / habit.speaking_share)), habit)


def find_bounds(
    profile: MachineProfile, habit: Habit, saturation: float, effort: Effort = THOROUGH
) -> tuple[Bounds, Expectation, Expectation]:
    """The widest bounds of a replica that keep what OVERLOAD_LATENCY demands.

    Returns them with what people see at BUSY and at OVERLOAD times saturation. If even the
    narrowest bounds do not keep it, these are returned.
    """
    some, many = (crowd(habit, load * saturation) for load in (BUSY, OVERLOAD))
    quick = Effort(effort.requests // 2, effort.seeds[:1], effort.least_seconds)
    seen: dict[float, tuple[Expectation, Expectation]] = {}

    def keeps(wait: float) -> bool:
        bounds = Bounds(AdmissionSettings(max_wait_seconds=wait))
        busy = expect(profile, some, bounds=bounds, effort=quick)
        overload = expect(profile, many, bounds=bounds, effort=quick)
        seen[wait] = busy, overload
        return overload.p95 <= OVERLOAD_LATENCY * busy.p95

    # The narrower a bound, the sooner are those answered who are taken in.
    widest = bisect.bisect_left(WAIT_BOUNDS, True, key=keeps)
    wait = WAIT_BOUNDS[min(widest, len(WAIT_BOUNDS) - 1)]
    if wait not in seen:
        keeps(wait)
    busy, overload = seen[wait]
    places = max(FEWEST_PLACES, math.ceil(PLACES_MARGIN * overload.most_open / 8) * 8)
    return Bounds(AdmissionSettings(max_wait_seconds=wait), places), busy, overload


def _run(cluster: Cluster, question: Question, effort: Effort, seed: int) -> Result:
    chunk = question.habit.chunk_seconds or question.habit.dictation_seconds
    per_second = question.offered_rtfx / chunk
    seconds = min(LONGEST_RUN_SECONDS, max(effort.least_seconds, effort.requests / per_second))
    return cluster.run(question.pieces(seed), seconds).after(WARM_UP_SHARE * seconds)
