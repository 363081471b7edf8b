"""A clockwork engine: the scheduling policy with simulated workers instead of a model."""

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace

from serve_app.engine.policy import BatchLimits, FairQueue, Item, Stage

from serve_app.caller import Priority
from serve_app.engine.admission import Admission, Demand
from serve_app.errors import Overloaded

STAGES = (Stage.ENCODE, Stage.DETECT, Stage.GENERATE, Stage.ALIGN)
COST = {Stage.ENCODE: 10, Stage.DETECT: 1, Stage.GENERATE: 8, Stage.ALIGN: 4}
"""Ticks per batch."""


@dataclass
class Request:
    """``windows`` windows of ``seconds`` each, at most ``parallel`` of them queued at once.

    ``reposts``: how often its client sends another such request as soon as this one is done.
    ``estimated_wait`` and ``refusal`` are what the simulation's admission says at its arrival.
    """

    identity: int
    arrival: int
    windows: int
    seconds: float = 30.0
    parallel: int = 8
    weight: float = 1.0
    key: str = "k"
    priority: Priority = Priority.AUTO
    stages: tuple[Stage, ...] = (Stage.ENCODE, Stage.GENERATE)
    cancel_at: int | None = None
    reposts: int = 0
    started: int = 0
    finished: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    estimated_wait: float = 0.0
    refusal: Overloaded | None = None

    @property
    def demand(self) -> Demand:
        work = self.windows * self.seconds
        return Demand(audio_seconds=work, work_seconds=work, priority=self.priority)

    @property
    def in_flight(self) -> int:
        return self.started - self.finished


@dataclass
class Simulation:
    """Runs ``requests`` on ``workers`` until all are done or cancelled; keeps what happened.

    A tick is a second of its ``admission``'s, which sees what the scheduler would tell it.
    """

    requests: list[Request]
    workers: int = 2
    limits: BatchLimits = field(default_factory=BatchLimits)
    admission: Admission | None = None
    batches: list[tuple[int, list[Item]]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = FairQueue(self.limits)
        self.now = 0
        self._remaining: dict[int, tuple[Request, float, deque[Stage]]] = {}
        self._running: list[tuple[int, int, list[Item]]] = []
        self._idle = deque(range(self.workers))
        self._waiting = sorted(self.requests, key=lambda r: r.arrival)
        self._open: dict[int, Request] = {}

    def run(self, until: int = 10**7) -> "Simulation":
        while (self._waiting or self._open or self._running) and self.now < until:
            self._arrive()
            self._cancel()
            self._complete()
            while self._idle and (batch := self.queue.take(len(self._idle))):
                self._serve(batch)
            self._rest()
            self.now = self._next_event()
        return self

    def served_seconds(self, until: int) -> defaultdict[int, float]:
        """Audio seconds of each request whose encoding began before ``until``."""
        served: defaultdict[int, float] = defaultdict(float)
        for time, batch in self.batches:
            for item in batch:
                if time < until and item.stage is Stage.ENCODE:
                    served[item.request] += item.seconds
        return served

    def _next_event(self) -> int:
        times = [end for end, _, _ in self._running] + [r.arrival for r in self._waiting[:1]]
        times += [
            r.cancel_at
            for r in self._open.values()
            if r.cancel_at is not None and r.cancel_at > self.now
        ]
        return max(self.now + 1, min(times, default=self.now + 1))

    def _arrive(self) -> None:
        while self._waiting and self._waiting[0].arrival <= self.now:
            request = self._waiting.pop(0)
            if not self._admit(request):
                continue
            self.queue.open(request.identity, request.weight, request.priority)
            self._open[request.identity] = request
            self._feed(request)

    def _feed(self, request: Request) -> None:
        while request.in_flight < request.parallel and request.started < request.windows:
            request.started += 1
            tag = self.queue.charge(request.identity, request.seconds)
            if self.admission:
                self.admission.charge(request.identity, request.seconds)
            self._add(request, tag, deque(request.stages))

    def _add(self, request: Request, tag: float, stages: "deque[Stage]") -> None:
        stage = stages.popleft()
        key = None if stage in (Stage.ENCODE, Stage.DETECT) else request.key
        item = self.queue.add(request.identity, stage, key, tag, request.seconds)
        self._remaining[item.sequence] = (request, tag, stages)

    def _cancel(self) -> None:
        for request in list(self._open.values()):
            if request.cancel_at is not None and request.cancel_at <= self.now:
                self._close(request)
                self.cancelled.add(request.identity)

    def _complete(self) -> None:
        done = [entry for entry in self._running if entry[0] <= self.now]
        self._running = [entry for entry in self._running if entry[0] > self.now]
        for _, worker, batch in done:
            self._note_done(worker, batch)
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
                    self._close(request)
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
            started_at=None,
            finished_at=None,
        )
        self.requests.append(again)
        self._waiting.insert(0, again)

    def _close(self, request: Request) -> None:
        self.queue.close(request.identity)
        del self._open[request.identity]
        if self.admission:
            self.admission.close(request.identity)

    def _admit(self, request: Request) -> bool:
        if self.admission is None:
            return True
        is_overdue = self.queue.is_overdue
        request.estimated_wait = self.admission.wait_seconds(request.demand, is_overdue)
        try:
            self.admission.check(request.demand, is_overdue)
        except Overloaded as refused:
            request.refusal = refused
            return False
        self.admission.open(request.identity, request.demand)
        return True

    def _serve(self, batch: list[Item]) -> None:
        worker = self._idle.popleft()
        self.batches.append((self.now, batch))
        self._running.append((self.now + COST[batch[0].stage], worker, batch))
        for item in batch:
            request = self._remaining[item.sequence][0]
            if request.started_at is None:
                request.started_at = self.now
        if self.admission:
            self.admission.throughput.resume(worker, self.now)

    def _rest(self) -> None:
        if self.admission:
            for worker in self._idle:
                self.admission.throughput.rest(worker, self.now)

    def _note_done(self, worker: int, batch: list[Item]) -> None:
        self._idle.append(worker)
        if self.admission is None:
            return
        throughput, stage = self.admission.throughput, batch[0].stage
        share = throughput.encoding_share
        seconds = sum(item.seconds for item in batch)
        if stage is Stage.ENCODE:
            throughput.done(worker, self.now, encoded=seconds)
        else:
            share = 1 - share if stage is Stage.GENERATE else 0.0
            throughput.done(worker, self.now, decoded=seconds if share else 0.0)
        for item in batch:
            self.admission.finish(item.request, share * item.seconds)
