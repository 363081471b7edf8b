"""One model replica in virtual time: the real policy and admission, with costs instead of a model.

The order of everything is :class:`serve_app.engine.queue.FairQueue`'s, the very class that serves,
and what is refused is :class:`serve_app.engine.admission.Admission`'s. This file imitates the
mechanism around them (:mod:`serve_app.engine.scheduler`): the workers, and the whole-machine worker
of a lone batch.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from loadtest.capacity.cores import Cores
from loadtest.capacity.profile import Call, MachineProfile
from loadtest.capacity.work import PIPELINE_WINDOWS
from serve_app.engine import request as engine
from serve_app.engine.admission import Admission
from serve_app.engine.queue import BatchLimits, FairQueue, Job, Stage, Step
from serve_app.engine.scheduler import MAX_REQUESTS
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings

Later = Callable[[float, Callable[[float], None]], None]
"""Runs a function of the time at a time."""


@dataclass(eq=False)
class Request:
    """One request; ``due`` when it was sent, ``ended`` when its answer came.

    ``rounds`` are those that have not begun, ``windows`` the rest of the one that has, in which
    speech ``is_again`` heard if it is not the first. ``account`` is what the engine knows of it.
    """

    due: float
    seconds: float
    rounds: list[list[list[Step]]]
    ended: float | None = None
    is_refused: bool = False
    in_flight: int = 0
    is_again: bool = False
    windows: list[list[Step]] = field(default_factory=list)
    account: engine.Request = field(init=False)

    def __post_init__(self) -> None:
        demand = engine.Demand(self.seconds, _expected_seconds(self.rounds[0]))
        self.account = engine.Request(demand)


def _expected_seconds(windows: Sequence[Sequence[Step]]) -> float:
    """What the engine expects them to bring: a single encoding of each."""
    return sum(steps[0].seconds for steps in windows)


@dataclass(frozen=True)
class Bounds:
    """What a replica refuses: its admission settings and the most requests that it holds."""

    admission: AdmissionSettings
    max_requests: int = MAX_REQUESTS


UNBOUNDED = Bounds(
    AdmissionSettings(
        max_wait_seconds=1e12, bulk_max_wait_seconds=1e12, max_queued_audio_seconds=1e12
    ),
    max_requests=10**9,
)


class Replica:
    """A replica of ``profile``.

    ``later`` calls back at a time, ``ended`` is told of each request that got its answer or was
    refused.
    """

    def __init__(
        self,
        profile: MachineProfile,
        limits: BatchLimits,
        later: Later,
        ended: Callable[[Request, float], None],
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        self._profile = profile
        self._later = later
        self._tell = ended
        self._queue = FairQueue(limits)
        self._admission = Admission(bounds.admission, bounds.max_requests, profile.workers)
        self.host = Cores(profile.cores, profile.server.idle_cores)
        # Batches in flight share a GPU; on a CPU they share the cores with everything else.
        self.engine = self.host if profile.device == "cpu" else Cores(1)
        self._idle = list(range(profile.workers))
        self._running: dict[Hashable, Callable[[float], None]] = {}
        self._open: dict[engine.Request, Request] = {}
        self._next_job = 0
        self._looks: dict[int, int] = {}
        self.ongoing = 0
        self.most_open = 0
        self.batches: dict[Stage, list[int]] = {stage: [] for stage in Stage}

    def send(self, request: Request, now: float) -> None:
        """A request has come over HTTP."""
        self.ongoing += 1
        cost = self._profile.server.request_core_seconds
        self._start(self.host, cost, 1, now, lambda then: self._admit(request, then))

    def _admit(self, request: Request, now: float) -> None:
        try:
            self._admission.check(request.account.demand, self._queue.is_overdue)
        except Overloaded:
            request.is_refused = True
            self._end(request, now)
            return
        self._admission.open(request.account)
        self._queue.open(request.account)
        self._open[request.account] = request
        self.most_open = max(self.most_open, len(self._open))
        cost = self._profile.prepare.seconds(request.seconds)
        self._start(self.host, cost, 1, now, lambda then: self._begin(request, then))

    def _begin(self, request: Request, now: float) -> None:
        self._begin_round(request)
        self._dispatch(now)

    def _begin_round(self, request: Request) -> None:
        """The round's first windows are queued."""
        request.windows = request.rounds.pop(0)
        for _ in range(min(PIPELINE_WINDOWS, len(request.windows))):
            self._begin_window(request)

    def _begin_window(self, request: Request) -> None:
        hearing = (step for step in request.windows.pop(0))
        request.in_flight += 1
        job = Job(request.account, next(hearing), hearing=hearing, is_again=request.is_again)
        self._queue.add(job)

    def _dispatch(self, now: float) -> None:
        """Let the idle workers take batches."""
        while self._idle and (batch := self._queue.take(len(self._idle))):
            is_first = len(self._idle) == self._profile.workers
            self._serve(self._idle.pop(0), batch, now, alone=is_first and not self._queue.jobs)

    def _serve(self, worker: int, batch: list[Job], now: float, *, alone: bool) -> None:
        stage = batch[0].step.stage
        self.batches[stage].append(len(batch))
        profile = self._profile
        calls: list[Call] = [job.step.payload for job in batch]
        cost = profile.loaded.of(calls[0].stage)
        seconds = cost.seconds([call.tokens for call in calls], calls[0].context_seconds)
        threads = profile.threads_per_worker
        if alone and (factor := profile.alone.get(calls[0].stage)):
            seconds, threads = factor * seconds, profile.cores
        self._admission.begin(worker, batch, now)

        def ended(then: float) -> None:
            self._batch_ended(worker, batch, then)

        on_gpu = profile.device == "cuda"
        self._start(self.engine, seconds, 1 if on_gpu else threads, now, ended)

    def _batch_ended(self, worker: int, batch: list[Job], now: float) -> None:
        self._admission.finish(worker, batch, now)
        self._queue.finish(batch)
        for job in batch:
            self._go_on(job, now)
        self._idle.append(worker)
        self._dispatch(now)
        if not self._queue.jobs:
            for idle in self._idle:
                self._admission.rest(idle, now)

    def _go_on(self, job: Job, now: float) -> None:
        """A window queues its next step, or the request its next window or round, or it is
        answered.
        """
        assert job.hearing is not None
        step = next(job.hearing, None)
        if step is not None:
            job.step = step
            self._queue.add(job)
            return
        request = self._open[job.request]
        request.in_flight -= 1
        if request.windows:
            self._begin_window(request)
        elif not request.in_flight and request.rounds:
            request.is_again = True
            self._begin_round(request)
        elif not request.in_flight:
            del self._open[job.request]
            self._queue.close(job.request)
            self._admission.close(job.request)
            self._end(request, now)

    def _end(self, request: Request, now: float) -> None:
        self.ongoing -= 1
        server = self._profile.server
        rest = max(0.0, server.request_seconds - server.request_core_seconds)
        request.ended = now + rest
        self._tell(request, now + rest)

    def _start(
        self,
        cores: Cores,
        seconds: float,
        threads: int,
        now: float,
        ended: Callable[[float], None],
    ) -> None:
        """Run a job of ``seconds``; ``ended`` is called at its end."""
        if seconds <= 0:
            self._later(now, ended)
            return
        name = self._next_job
        self._next_job += 1
        self._running[name] = ended
        cores.add(name, seconds, now, threads)
        self._look_again(cores, now)

    def _look_again(self, cores: Cores, now: float) -> None:
        """Come back when the next job ends; an earlier plan to come back no longer holds."""
        end = cores.next_end(now)
        look = self._looks[id(cores)] = self._looks.get(id(cores), 0) + 1
        if end is not None:
            self._later(end, lambda then: self._jobs_ended(cores, look, then))

    def _jobs_ended(self, cores: Cores, look: int, now: float) -> None:
        if look != self._looks[id(cores)]:
            return
        for name in cores.ended(now):
            self._running.pop(name)(now)
        self._look_again(cores, now)
