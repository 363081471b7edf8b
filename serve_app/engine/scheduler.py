"""The mechanism around :mod:`serve_app.engine.policy`: worker threads, futures, one lock.

Callers (one thread per request) queue stages of windows and block on futures; worker threads take
the batches that the policy forms and run them on a :class:`Backend`.
"""

import logging
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from serve_app.engine.admission import NOTHING, Admission, Demand, Load
from serve_app.engine.batch_metrics import record_batch
from serve_app.engine.batch_trace import BatchTrace
from serve_app.engine.policy import BatchLimits, FairQueue, Item, Stage
from serve_app.metrics import catalogue as metrics
from serve_app.settings import AdmissionSettings
from serve_app.tracing.span import NO_SPAN, Span

logger = logging.getLogger("whisper_ox.engine")

FOLLOW_UP_SECONDS = 0.005
"""How long a worker leaves a long file waiting for the next stage of what it has just served: the
time in which faster-whisper's pipeline, in the request's own thread, comes back with it."""


MAX_REQUESTS = 1024
"""Where nobody says otherwise."""


class RequestClosed(Exception):
    """The request was cancelled; its queued windows are gone."""


class Backend(Protocol):
    """What executes a batch: CTranslate2 in production."""

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """Run one batch; one result per payload, in order.

        ``alone`` says that nothing else waits or runs, so this batch may use every core.
        """


@dataclass
class Window:
    """One window in the engine: its place in the order and its encoder output, once it is there.

    ``seconds`` is the audio that the window spans, padding included, since that is its cost.
    """

    request: int
    tag: float
    seconds: float
    encoded: "Future[Any]" = field(default_factory=Future)
    work_left: float = field(init=False)

    def __post_init__(self) -> None:
        self.work_left = self.seconds


@dataclass
class _Job:
    item: Item
    window: Window
    payload: Any
    future: "Future[Any]"
    queued_at: float


class Scheduler:
    """Runs the stages of all open requests' windows on ``workers`` threads over one backend."""

    def __init__(
        self,
        backend: Backend,
        limits: BatchLimits,
        workers: int,
        sink: metrics.Sink = metrics.NO_METRICS,
        admission: Admission | None = None,
    ) -> None:
        self._backend = backend
        self._sink = sink
        self._queue = FairQueue(limits)
        self._admission = admission or Admission(AdmissionSettings(), MAX_REQUESTS, workers)
        self._trace = BatchTrace()
        self._jobs: dict[int, _Job] = {}
        self._open: set[int] = set()
        self._next_request = 0
        self._idle = workers
        self._workers = workers
        self._stopping = False
        self._wake = threading.Condition()
        self._active_since = 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(n,), name=f"engine-worker-{n}", daemon=True)
            for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def open_request(
        self, demand: Demand = NOTHING, weight: float = 1.0, span: Span = NO_SPAN
    ) -> int:
        """Admit a request; every later call names it by the returned id.

        ``span`` gets the batches of its windows. Raises ``Overloaded`` where it would wait too long
        or too much is held already.
        """
        with self._wake:
            self._admission.check(demand, self._queue.is_overdue)
            request = self._next_request
            self._next_request += 1
            self._queue.open(request, weight, demand.priority)
            self._admission.open(request, demand)
            self._open.add(request)
            self._trace.open(request, span)
            return request

    def expect(self, request: int, work_seconds: float) -> None:
        """Correct a request's demand: it will encode windows of so many seconds more."""
        with self._wake:
            self._admission.expect(request, work_seconds)

    def load(self) -> Load:
        """What is queued and how long newcomers would wait."""
        with self._wake:
            return self._admission.load(self._queue.is_overdue)

    def close_request(self, request: int) -> None:
        """Forget a request. Its waiting windows leave the queue at once and their callers get
        :class:`RequestClosed`; batches in service end without it.
        """
        with self._wake:
            self._open.discard(request)
            self._trace.close(request)
            self._admission.close(request)
            dropped = [self._jobs.pop(item.sequence) for item in self._queue.close(request)]
            self._wake.notify_all()  # a worker may be awaiting its next stage
        for job in dropped:
            job.future.set_exception(RequestClosed())

    def encode(self, request: int, key: Hashable, features: Any, seconds: float) -> Window:
        """Queue a window for encoding and return at once; ``Window.encoded`` fills later."""
        with self._wake:
            if request not in self._open:
                raise RequestClosed
            window = Window(request, self._queue.charge(request, seconds), seconds)
            self._admission.charge(request, seconds)
            self._add(window, Stage.ENCODE, key, features, window.encoded)
        return window

    def decode(self, window: Window, stage: Stage, key: Hashable, payload: Any) -> "Future[Any]":
        """Queue a later stage of a window; it enters the queue when the window is encoded.

        The backend gets ``(encoder output, payload)``.
        """
        future: Future[Any] = Future()

        def enqueue(encoded: "Future[Any]") -> None:
            error = encoded.exception()
            if error is not None:
                future.set_exception(error)
                return
            with self._wake:
                if window.request in self._open:
                    self._add(window, stage, key, (encoded.result(), payload), future)
                    return
            future.set_exception(RequestClosed())

        window.encoded.add_done_callback(enqueue)
        return future

    def set_limits(self, limits: BatchLimits) -> None:
        """Change the batch limits; the next batch obeys them."""
        with self._wake:
            self._queue.limits = limits

    @property
    def queued_windows(self) -> int:
        """Windows that wait for some stage."""
        with self._wake:
            return len(self._queue.items)

    def stop(self) -> None:
        """End the worker threads after their current batch; what still waits fails."""
        with self._wake:
            self._stopping = True
            self._open.clear()
            waiting = list(self._jobs.values())
            self._jobs.clear()
            self._queue.items.clear()
            self._wake.notify_all()
        for job in waiting:
            job.future.set_exception(RequestClosed())
        for thread in self._threads:
            thread.join()

    def _add(
        self, window: Window, stage: Stage, key: Hashable, payload: Any, future: "Future[Any]"
    ) -> None:
        item = self._queue.add(window.request, stage, key, window.tag, window.seconds)
        self._jobs[item.sequence] = _Job(item, window, payload, future, time.perf_counter())
        self._wake.notify()

    def _work(self, worker: int) -> None:
        throughput = self._admission.throughput
        while True:
            with self._wake:
                while not self._queue.items and not self._stopping:
                    throughput.rest(worker, time.perf_counter())
                    self._wake.wait()
                if self._stopping:
                    return
                throughput.resume(worker, time.perf_counter())
                items = self._queue.take(self._idle)
                batch = [self._jobs.pop(item.sequence) for item in items]
                bulk = sum(i.seconds for i in items if not self._queue.is_interactive(i.request))
                self._admission.serve(bulk)
                is_first = self._idle == self._workers
                alone = is_first and not self._queue.items
                if is_first:
                    self._active_since = time.perf_counter()
                self._idle -= 1
            try:
                self._serve(worker, batch, alone)
            finally:
                with self._wake:
                    self._idle += 1
                    self._admission.serve(-bulk)
                    self._await_follow_up({job.item.request for job in batch})

    def _await_follow_up(self, served: set[int]) -> None:
        """Do not begin a long file's batch just before a short request needs this worker again."""
        deadline = time.perf_counter() + FOLLOW_UP_SECONDS
        while (
            self._queue.items
            and self._queue.only_bulk_waits
            and any(self._queue.is_interactive(request) for request in served)
            and (left := deadline - time.perf_counter()) > 0
        ):
            self._wake.wait(left)

    def _serve(self, worker: int, batch: list[_Job], alone: bool) -> None:
        started = time.perf_counter()
        outcomes = self._run(batch, alone)
        try:
            self._record(batch, started, time.perf_counter())
            self._finish(worker, batch)
        except Exception:  # over a figure no caller waits for ever and no worker ends
            logger.exception("a batch was not accounted for")
        # Outside the lock: a future's callbacks queue the window's next stage.
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)

    def _finish(self, worker: int, batch: list[_Job]) -> None:
        """Tell admission what is done: a window with its encoding in part, with its text in all."""
        throughput, stage = self._admission.throughput, batch[0].item.stage
        share = {Stage.ENCODE: throughput.encoding_share, Stage.GENERATE: 1.0}.get(stage, 0.0)
        with self._wake:
            work = [(job.window, share * job.window.work_left) for job in batch]
            seconds = sum(window.seconds for window, done in work if done)
            if stage is Stage.ENCODE:
                throughput.done(worker, time.perf_counter(), encoded=seconds)
            else:
                throughput.done(worker, time.perf_counter(), decoded=seconds)
            for window, done in work:
                window.work_left -= done
                self._admission.finish(window.request, done)

    def _record(self, batch: list[_Job], started: float, ended: float) -> None:
        """Before the batch's futures: once their callers go on, this worker should be idle, so that
        a lone request's next stage still gets every core.
        """
        with self._wake:
            active_seconds = max(0.0, ended - self._active_since)
            self._active_since = max(self._active_since, ended)
        item = batch[0].item
        stage = item.stage.name.lower()
        waits = [started - job.queued_at for job in batch]
        self._sink.count(metrics.ENGINE_ACTIVE_SECONDS, active_seconds)
        slots = self._queue.limits.of(item.stage)
        record_batch(self._sink, stage, waits, ended - started, slots)
        if self._trace:
            windows = [(job.item.request, job.queued_at) for job in batch]
            self._trace.record(stage, windows, started, ended)

    def _run(self, batch: list[_Job], alone: bool) -> list[Any]:
        """Results or exceptions, one per job. A batch that fails is halved until the culprit is
        alone, so that it fails without its mates, and so that a batch too big for the device's
        memory still gets through.
        """
        try:
            return list(
                self._backend.run(
                    batch[0].item.stage,
                    batch[0].item.key,
                    [job.payload for job in batch],
                    alone=alone,
                )
            )
        except Exception as error:
            if len(batch) == 1:
                return [error]
        middle = len(batch) // 2
        return self._run(batch[:middle], alone) + self._run(batch[middle:], alone)
