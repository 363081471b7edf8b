"""One model replica in virtual time: the real policy and admission, with costs instead of a model.

The order of everything is :class:`serve_app.engine.policy.FairQueue`'s, the very class that serves,
and what is refused is :class:`serve_app.engine.admission.Admission`'s. This file imitates the
mechanism around them (:mod:`serve_app.engine.scheduler`): workers, the whole-machine worker of a
lone batch, and that no worker begins a long file's batch just before a short request comes back.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from loadtest.capacity.cores import Cores
from loadtest.capacity.doorkeeper import Bounds, Doorkeeper
from loadtest.capacity.profile import MachineProfile
from loadtest.capacity.work import Phase, Step
from serve_app.engine.pipeline_call import WINDOW_SECONDS
from serve_app.engine.policy import BatchLimits, FairQueue, Item, Stage
from serve_app.engine.scheduler import FOLLOW_UP_SECONDS

HOP_SECONDS = 0.001
"""From the end of a call until the request's thread has queued its next."""

Later = Callable[[float, Callable[[float], None]], None]
"""Runs a function of the time at a time."""


@dataclass
class Request:
    """One request; ``due`` when it was sent, ``ended`` when its answer came."""

    number: int
    due: float
    seconds: float
    phases: list[Phase]
    ended: float | None = None
    is_refused: bool = False
    next_phase: int = 0
    pending: int = 0
    tags: dict[int, float] = field(default_factory=dict)
    is_encoded: dict[int, bool] = field(default_factory=dict)
    waiting: dict[int, list[Step]] = field(default_factory=dict)

    @property
    def work_seconds(self) -> float:
        """Window seconds as the engine expects them beforehand."""
        return WINDOW_SECONDS * max(1, math.ceil(self.seconds / WINDOW_SECONDS - 1e-9))


@dataclass
class _Worker:
    """``held_until``: the time of its hold after a batch that somebody waits for."""

    number: int
    held_until: float = 0.0
    served: frozenset[int] = frozenset()


class Replica:
    """A replica of ``profile``. ``bounds`` None: nothing is refused.

    ``later`` calls back at a time, ``ended`` is told of each request that got its answer or was
    refused.
    """

    def __init__(
        self,
        profile: MachineProfile,
        limits: BatchLimits,
        later: Later,
        ended: Callable[[Request, float], None],
        bounds: Bounds | None = None,
    ) -> None:
        self._profile = profile
        self._later = later
        self._tell = ended
        self._queue = FairQueue(limits)
        self._door = Doorkeeper(bounds, profile.workers, self._queue)
        idle_use = profile.server.idle_cores
        self.host = Cores(profile.cores, idle_use, profile.solo_speed)
        # Batches in flight share a GPU; on a CPU they share the cores with everything else.
        self.engine = self.host if profile.device == "cpu" else Cores(1)
        self._idle = [_Worker(n) for n in range(profile.workers)]
        self._jobs: dict[int, tuple[Request, Step]] = {}
        self._running: dict[Hashable, Callable[[float], None]] = {}
        self._open: dict[int, Request] = {}
        self._next_job = 0
        self._wake_at: dict[int, float] = {}
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
        if not self._door.admits(request.number, request.seconds, request.work_seconds):
            request.is_refused = True
            self._end(request, now)
            return
        self._queue.open(request.number)
        self._open[request.number] = request
        self.most_open = max(self.most_open, len(self._open))
        cost = self._profile.prepare.seconds(request.seconds)
        self._start(self.host, cost, 1, now, lambda then: self._go_on(request, then))

    def _go_on(self, request: Request, now: float) -> None:
        """The request's thread queues its next phase, or is done."""
        if request.next_phase == len(request.phases):
            del self._open[request.number]
            self._queue.close(request.number)
            self._door.close(request.number, list(request.tags))
            self._end(request, now)
            self._dispatch(now)
            return
        phase = request.phases[request.next_phase]
        request.next_phase += 1
        decoded = [one.window for one in phase if one.stage is not Stage.ENCODE]
        left_encoded = [one for one in phase if one.window not in decoded]
        request.pending = len(decoded) + len(left_encoded)
        for one in phase:
            if one.window not in request.tags or one.stage is Stage.ENCODE:
                request.tags[one.window] = self._queue.charge(request.number, WINDOW_SECONDS)
                self._door.charge((request.number, one.window))
                request.is_encoded[one.window] = one.stage is not Stage.ENCODE
            if one.stage is Stage.ENCODE or request.is_encoded[one.window]:
                self._add(request, one)
            else:
                request.waiting.setdefault(one.window, []).append(one)
        self._dispatch(now)

    def _add(self, request: Request, one: Step) -> None:
        tag = request.tags[one.window]
        item = self._queue.add(request.number, one.stage, one.key, tag, WINDOW_SECONDS)
        self._jobs[item.sequence] = (request, one)

    def _dispatch(self, now: float) -> None:
        """Let the workers that may take batches."""
        while self._queue.items and (worker := self._free_worker(now)):
            batch = self._queue.take(len(self._idle))
            is_first = len(self._idle) == self._profile.workers
            self._idle.remove(worker)
            self._serve(worker, batch, now, alone=is_first and not self._queue.items)

    def _free_worker(self, now: float) -> _Worker | None:
        for worker in self._idle:
            is_held = (
                now < worker.held_until
                and self._queue.only_bulk_waits
                and any(self._queue.is_interactive(request) for request in worker.served)
            )
            if not is_held:
                return worker
            if self._wake_at.get(worker.number) != worker.held_until:
                self._wake_at[worker.number] = worker.held_until
                self._later(worker.held_until, self._dispatch)
        return None

    def _serve(self, worker: _Worker, batch: list[Item], now: float, *, alone: bool) -> None:
        stage = batch[0].stage
        jobs = [self._jobs.pop(item.sequence) for item in batch]
        self.batches[stage].append(len(batch))
        profile = self._profile
        lone = profile.alone if alone else None
        threads = profile.cores if lone else profile.threads_per_worker
        costs = lone or profile.loaded
        if stage is Stage.GENERATE:
            if costs.decode is None:
                threads = profile.threads_per_worker
            decode = costs.decode or profile.loaded.decode
            seconds = decode.seconds([one.tokens for _, one in jobs])
        else:
            cost = costs.encode if stage is Stage.ENCODE else costs.detect
            seconds = cost.seconds(len(batch))
        bulk = sum(i.seconds for i in batch if not self._queue.is_interactive(i.request))
        self._door.begin(worker.number, bulk, now)

        def ended(then: float) -> None:
            self._batch_ended(worker, stage, jobs, bulk, then)

        on_gpu = profile.device == "cuda"
        self._start(self.engine, seconds, 1 if on_gpu else threads, now, ended)

    def _batch_ended(
        self,
        worker: _Worker,
        stage: Stage,
        jobs: list[tuple[Request, Step]],
        bulk: float,
        now: float,
    ) -> None:
        windows = [(request.number, one.window) for request, one in jobs]
        self._door.finish(worker.number, stage, windows, bulk, now)
        for request, one in jobs:
            self._call_ended(request, one, now)
        self._idle.append(worker)
        worker.held_until = now + FOLLOW_UP_SECONDS
        worker.served = frozenset(request.number for request, _ in jobs)
        self._dispatch(now)
        if not self._queue.items:
            for idle in self._idle:
                self._door.rest(idle.number, now)

    def _call_ended(self, request: Request, one: Step, now: float) -> None:
        is_awaited = one.stage is not Stage.ENCODE
        if one.stage is Stage.ENCODE:
            request.is_encoded[one.window] = True
            waiting = request.waiting.pop(one.window, [])
            for step in waiting:
                self._add(request, step)
            is_awaited = not waiting  # a recipe may end with an encoding
        if is_awaited:
            request.pending -= 1
            if request.pending == 0:
                self._later(now + HOP_SECONDS, lambda then: self._go_on(request, then))

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
            ended(now)
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
