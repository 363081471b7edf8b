"""A simulated engine: the real queue and admission, with simulated workers instead of a model."""

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from serve_app.caller import Priority
from serve_app.engine.admission import Admission
from serve_app.engine.queue import BatchLimits, FairQueue, Hearing, Job, Stage, Step
from serve_app.engine.request import Demand, Request
from serve_app.errors import Overloaded

STAGES = (Stage.ENCODE, Stage.DETECT, Stage.GENERATE, Stage.ALIGN)
COST = {Stage.ENCODE: 10, Stage.DETECT: 1, Stage.GENERATE: 8, Stage.ALIGN: 4}
"""Ticks per batch."""


@dataclass(eq=False)
class Arrival:
    """A request that comes at the tick ``at``.

    It has ``windows`` windows of ``seconds`` each, of which at most ``parallel`` are in service at
    once. ``reposts`` says how often its client sends another such request as soon as this one is
    done. ``estimated_wait`` and ``refusal`` are what the simulation's admission says at ``at``.
    """

    identity: int
    at: int
    windows: int
    seconds: float = 30.0
    parallel: int = 8
    key: str = "k"
    priority: Priority = Priority.AUTO
    stages: tuple[Stage, ...] = (Stage.ENCODE, Stage.GENERATE)
    cancel_at: int | None = None
    reposts: int = 0
    request: Request = field(init=False)
    started: int = field(init=False, default=0)
    finished: int = field(init=False, default=0)
    started_at: int | None = field(init=False, default=None)
    finished_at: int | None = field(init=False, default=None)
    estimated_wait: float = field(init=False, default=0.0)
    refusal: Overloaded | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        work = self.windows * self.seconds
        self.request = Request(Demand(work, work, self.priority))

    @property
    def in_flight(self) -> int:
        return self.started - self.finished

    def hearing(self) -> Hearing:
        """The steps of one window."""
        for stage in self.stages:
            key = None if stage in (Stage.ENCODE, Stage.DETECT) else self.key
            yield Step(stage, key, seconds=self.seconds if stage is Stage.ENCODE else 0.0)


@dataclass(frozen=True)
class Service:
    """One window in one batch."""

    identity: int
    window: Job
    stage: Stage
    key: Hashable


@dataclass
class Simulation:
    """Runs ``arrivals`` on ``workers`` until all are done or cancelled; keeps what happened.

    A tick is a second to its ``admission``, which sees what the scheduler would tell it.
    """

    arrivals: list[Arrival]
    workers: int = 2
    limits: BatchLimits = field(default_factory=BatchLimits)
    admission: Admission | None = None
    batches: list[tuple[int, list[Service]]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = FairQueue(self.limits)
        self.now = 0
        self._running: list[tuple[int, int, list[Job]]] = []
        self._idle = deque(range(self.workers))
        self._waiting = sorted(self.arrivals, key=lambda arrival: arrival.at)
        self._open: dict[Request, Arrival] = {}

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
            for one in batch:
                if time < until and one.stage is Stage.ENCODE:
                    served[one.identity] += one.window.seconds
        return served

    def _next_event(self) -> int:
        times = [entry[0] for entry in self._running] + [a.at for a in self._waiting[:1]]
        times += [
            a.cancel_at
            for a in self._open.values()
            if a.cancel_at is not None and a.cancel_at > self.now
        ]
        return max(self.now + 1, min(times, default=self.now + 1))

    def _arrive(self) -> None:
        while self._waiting and self._waiting[0].at <= self.now:
            arrival = self._waiting.pop(0)
            if not self._admit(arrival):
                continue
            self.queue.open(arrival.request)
            self._open[arrival.request] = arrival
            self._feed(arrival)

    def _feed(self, arrival: Arrival) -> None:
        while arrival.in_flight < arrival.parallel and arrival.started < arrival.windows:
            arrival.started += 1
            hearing = arrival.hearing()
            self.queue.add(Job(arrival.request, next(hearing), hearing=hearing))

    def _cancel(self) -> None:
        for arrival in list(self._open.values()):
            if arrival.cancel_at is not None and arrival.cancel_at <= self.now:
                self._close(arrival)
                self.cancelled.add(arrival.identity)

    def _complete(self) -> None:
        done = [entry for entry in self._running if entry[0] <= self.now]
        self._running = [entry for entry in self._running if entry[0] > self.now]
        for _, worker, batch in done:
            self._note_done(worker, batch)
            self.queue.finish(batch)
            for job in batch:
                if job.request.is_open:
                    self._go_on(job)

    def _go_on(self, job: Job) -> None:
        assert job.hearing is not None
        step = next(job.hearing, None)
        if step is not None:
            job.step = step
            self.queue.add(job)
            return
        arrival = self._open[job.request]
        arrival.finished += 1
        if arrival.finished < arrival.windows:
            self._feed(arrival)
            return
        arrival.finished_at = self.now
        self._close(arrival)
        if arrival.reposts:
            self._repost(arrival)

    def _repost(self, done: Arrival) -> None:
        identity = 1_000_000 + len(self.arrivals)
        again = replace(done, identity=identity, at=self.now, reposts=done.reposts - 1)
        self.arrivals.append(again)
        self._waiting.insert(0, again)

    def _close(self, arrival: Arrival) -> None:
        self.queue.close(arrival.request)
        del self._open[arrival.request]
        if self.admission:
            self.admission.close(arrival.request)

    def _admit(self, arrival: Arrival) -> bool:
        if self.admission is None:
            return True
        demand, is_overdue = arrival.request.demand, self.queue.is_overdue
        arrival.estimated_wait = self.admission.wait_seconds(demand, is_overdue)
        try:
            self.admission.check(demand, is_overdue)
        except Overloaded as refused:
            arrival.refusal = refused
            return False
        self.admission.open(arrival.request)
        return True

    def _serve(self, batch: list[Job]) -> None:
        worker = self._idle.popleft()
        arrivals = [self._open[job.request] for job in batch]
        services = [
            Service(arrival.identity, job, *job.kind)
            for arrival, job in zip(arrivals, batch, strict=True)
        ]
        self.batches.append((self.now, services))
        for arrival in arrivals:
            if arrival.started_at is None:
                arrival.started_at = self.now
        self._running.append((self.now + COST[batch[0].step.stage], worker, batch))
        if self.admission:
            self.admission.begin(worker, batch, self.now)

    def _rest(self) -> None:
        if self.admission:
            for worker in self._idle:
                self.admission.rest(worker, self.now)

    def _note_done(self, worker: int, batch: list[Job]) -> None:
        self._idle.append(worker)
        if self.admission:
            self.admission.finish(worker, batch, self.now)
