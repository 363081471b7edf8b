"""Replicas behind Serve's router in virtual time: who sends what, and what happens to it."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from loadtest.capacity.profile import MachineProfile
from loadtest.capacity.replica import UNBOUNDED, Bounds, Replica, Request
from loadtest.capacity.work import Workload
from loadtest.dictation import Piece
from loadtest.load import Span, latency_percentiles, rate_between
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.settings import EngineTunables

CPU_BULK_DECODE = 2
"""As :data:`serve_app.engine.engine.CPU_BULK_DECODE_BATCH`, without loading the model library."""


@dataclass(frozen=True)
class Result:
    """The outcomes of the requests, in the order in which they were due."""

    requests: Sequence[Request]
    seconds: float
    decode_batch: float
    most_open: int

    def after(self, seconds: float) -> "Result":
        """The same without requests due in the first ``seconds``, while queues were filling."""
        kept = [request for request in self.requests if request.due >= seconds]
        return replace(self, requests=kept, seconds=self.seconds - seconds)

    @property
    def latencies(self) -> list[float]:
        """Latencies of the answered requests, in seconds from the time when each was due."""
        return [r.ended - r.due for r in self.requests if r.ended is not None and not r.is_refused]

    @property
    def percentiles(self) -> dict[str, float]:
        """p50, p95, p99 and max of the latencies; {} where nothing was answered."""
        return latency_percentiles(self.latencies)

    @property
    def refused_share(self) -> float:
        """The share of all requests that was refused."""
        return sum(r.is_refused for r in self.requests) / max(1, len(self.requests))


class Cluster:
    """``replicas`` of one profile, their requests spread as Serve's router does: of two chosen at
    random, the one with fewer requests gets the next (Mitzenmacher 2001, the power of two choices).
    """

    def __init__(
        self,
        profile: MachineProfile,
        replicas: int = 1,
        bounds: Bounds = UNBOUNDED,
        seed: int = 0,
    ) -> None:
        self._workload = Workload(profile.recipes)
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._requests: list[Request] = []
        self._then: Callable[[Request, float], None] = lambda request, now: None
        on_cpu = profile.device == "cpu"
        limits = BatchLimits(
            encode=profile.encode_batch,
            decode=profile.decode_batch,
            bulk_decode=CPU_BULK_DECODE if on_cpu else profile.decode_batch,
            bulk_workers=max(1, profile.workers - 1) if on_cpu else None,
            slack_seconds=EngineTunables().slack_seconds,
            spread=on_cpu,
        )
        self._replicas = [
            Replica(profile, limits, self._later, self._ended, bounds) for _ in range(replicas)
        ]

    def run(self, pieces: Iterable[Piece], until: float) -> Result:
        """Send ``pieces``, which come in order of ``due``, up to ``until``; all are answered."""
        for piece in itertools.takewhile(lambda one: one.due < until, pieces):
            self._later(piece.due, partial(self._send, piece))
        self._work()
        return self._result(until)

    def closed_loop(self, clients: int, pieces: Iterable[Piece], until: float) -> Result:
        """``clients`` who each send the next piece when their last was answered, up to ``until``;
        all are answered. When pieces are due does not matter.
        """
        source = iter(pieces)

        def send(now: float) -> None:
            if now < until:
                piece = next(source)
                self._send(Piece(now, piece.seconds, piece.pick), now)

        self._then = lambda request, now: self._later(now, send)
        for _ in range(clients):
            self._later(0.0, send)
        self._work()
        return self._result(until)

    def _work(self) -> None:
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event(self._now)

    def _result(self, seconds: float) -> Result:
        batches = [n for replica in self._replicas for n in replica.batches[Stage.GENERATE]]
        return Result(
            requests=self._requests,
            seconds=seconds,
            decode_batch=sum(batches) / max(1, len(batches)),
            most_open=max(replica.most_open for replica in self._replicas),
        )

    def _later(self, at: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (max(at, self._now), next(self._order), event))

    def _send(self, piece: Piece, now: float) -> None:
        request = Request(now, piece.seconds, self._workload.rounds(piece.seconds, piece.pick))
        self._requests.append(request)
        self._route().send(request, now)

    def _route(self) -> Replica:
        if len(self._replicas) == 1:
            return self._replicas[0]
        return min(self._chance.sample(self._replicas, 2), key=lambda replica: replica.ongoing)

    def _ended(self, request: Request, at: float) -> None:
        self._then(request, at)


def served_rtfx(result: Result, from_seconds: float) -> float:
    """Audio seconds served per second from ``from_seconds`` until the end of a closed loop."""
    spans = [Span(0, r.due, r.ended, r.seconds) for r in result.requests if r.ended is not None]
    return rate_between(spans, from_seconds, result.seconds)
