"""A clockwork engine: the scheduling policy with simulated workers instead of a model."""

from collections import deque
from dataclasses import dataclass, field, replace

from serve_app.engine.policy import BatchLimits, FairQueue, Item, Stage

STAGES = (Stage.ENCODE, Stage.DETECT, Stage.GENERATE, Stage.ALIGN)
COST = {Stage.ENCODE: 10, Stage.DETECT: 1, Stage.GENERATE: 8, Stage.ALIGN: 4}
"""Ticks per batch."""


@dataclass
class Request:
    """``windows`` windows of ``seconds`` each, at most ``parallel`` of them queued at once.

    ``reposts``: how often its client sends another such request as soon as this one is done.
    """

    identity: int
    arrival: int
    windows: int
    seconds: float = 30.0
    parallel: int = 8
    weight: float = 1.0
    key: str = "k"
    stages: tuple[Stage, ...] = (Stage.ENCODE, Stage.GENERATE)
    cancel_at: int | None = None
    reposts: int = 0
    started: int = 0
    finished: int = 0
    finished_at: int | None = None

    @property
    def in_flight(self) -> int:
        return self.started - self.finished


@dataclass
class Simulation:
    """Runs ``requests`` on ``workers`` until all are done or cancelled; keeps what happened."""

    requests: list[Request]
    workers: int = 2
    limits: BatchLimits = field(default_factory=BatchLimits)
    batches: list[tuple[int, list[Item]]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = FairQueue(self.limits)
        self.now = 0
        self._remaining: dict[int, tuple[Request, float, deque[Stage]]] = {}
        self._running: list[tuple[int, list[Item]]] = []
        self._waiting = sorted(self.requests, key=lambda r: r.arrival)
        self._open: dict[int, Request] = {}

    def run(self, until: int = 10**7) -> "Simulation":
        while (self._waiting or self._open or self._running) and self.now < until:
            self._arrive()
            self._cancel()
            self._complete()
            while len(self._running) < self.workers:
                batch = self.queue.take(self.workers - len(self._running))
                if not batch:
                    break
                self.batches.append((self.now, batch))
                self._running.append((self.now + COST[batch[0].stage], batch))
            self.now = self._next_event()
        return self

    def served_seconds(self, identity: int, until: int) -> float:
        """Audio seconds of a request whose encoding began before ``until``."""
        return sum(
            item.seconds
            for time, batch in self.batches
            for item in batch
            if time < until and item.request == identity and item.stage is Stage.ENCODE
        )

    def _next_event(self) -> int:
        times = [end for end, _ in self._running] + [r.arrival for r in self._waiting[:1]]
        times += [
            r.cancel_at
            for r in self._open.values()
            if r.cancel_at is not None and r.cancel_at > self.now
        ]
        return max(self.now + 1, min(times, default=self.now + 1))

    def _arrive(self) -> None:
        while self._waiting and self._waiting[0].arrival <= self.now:
            request = self._waiting.pop(0)
            self.queue.open(request.identity, request.weight)
            self._open[request.identity] = request
            self._feed(request)

    def _feed(self, request: Request) -> None:
        while request.in_flight < request.parallel and request.started < request.windows:
            request.started += 1
            tag = self.queue.charge(request.identity, request.seconds)
            self._add(request, tag, deque(request.stages))

    def _add(self, request: Request, tag: float, stages: "deque[Stage]") -> None:
        stage = stages.popleft()
        key = None if stage in (Stage.ENCODE, Stage.DETECT) else request.key
        item = self.queue.add(request.identity, stage, key, tag, request.seconds)
        self._remaining[item.sequence] = (request, tag, stages)

    def _cancel(self) -> None:
        for request in list(self._open.values()):
            if request.cancel_at is not None and request.cancel_at <= self.now:
                self.queue.close(request.identity)
                self.cancelled.add(request.identity)
                del self._open[request.identity]

    def _complete(self) -> None:
        done = [entry for entry in self._running if entry[0] <= self.now]
        self._running = [entry for entry in self._running if entry[0] > self.now]
        for _, batch in done:
            for item in batch:
                request, tag, stages = self._remaining.pop(item.sequence)
                if request.identity in self.cancelled:
                    continue
                if stages:
                    self._add(request, tag, stages)
                    continue
                request.finished += 1
                if request.finished == request.windows:
                    request.finished_at = self.now
                    self.queue.close(request.identity)
                    del self._open[request.identity]
                    if request.reposts:
                        self._repost(request)
                else:
                    self._feed(request)

    def _repost(self, done: Request) -> None:
        identity = 1_000_000 + len(self.requests)
        again = replace(
            done,
            identity=identity,
            arrival=self.now,
            reposts=done.reposts - 1,
            started=0,
            finished=0,
            finished_at=None,
        )
        self.requests.append(again)
        self._waiting.insert(0, again)
