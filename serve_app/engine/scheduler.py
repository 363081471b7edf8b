"""The mechanism around :mod:`serve_app.engine.queue`: worker threads, futures, one lock.

A hearing is a generator that yields the steps of one window, one at a time, and is sent the result
of each. Worker threads run the batches that the queue forms on a :class:`Device`. They carry the
hearings on themselves, so that a window's next step is queued before its worker looks for other
work. What a hearing returns becomes the result of its job's future.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from serve_app import metrics
from serve_app.engine.admission import Admission, Load
from serve_app.engine.batch_record import record_batch
from serve_app.engine.device import Backend, Device
from serve_app.engine.drafts import Drafts
from serve_app.engine.health import Health
from serve_app.engine.queue import BatchLimits, FairQueue, Hearing, Job
from serve_app.engine.request import NO_DEMAND, Demand, Request
from serve_app.settings import AdmissionSettings, EngineSettings
from serve_app.tracing.span import NO_SPAN, Span

logger = logging.getLogger("whisper_ox.engine")

MAX_REQUESTS = 1024
"""Most open requests of a scheduler without an :class:`Admission`."""


class RequestClosed(Exception):
    """The request was cancelled, and its queued windows are gone."""


class Scheduler:
    """Runs the hearings of all open requests on ``workers`` threads over one backend."""

    def __init__(
        self,
        backend: Backend,
        limits: BatchLimits,
        workers: int,
        sink: metrics.Sink = metrics.NO_METRICS,
        admission: Admission | None = None,
        *,
        health: Health | None = None,
    ) -> None:
        self.device = Device(backend)
        self._sink = sink
        self._queue = FairQueue(limits)
        self._drafts = Drafts()
        self._admission = admission or Admission(AdmissionSettings(), MAX_REQUESTS, workers)
        self._health = health or Health(EngineSettings().stall_seconds)
        self._idle = workers
        self._workers = workers
        self._is_stopping = False
        self._wake = threading.Condition()
        self._active_since = 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(n,), name=f"engine-worker-{n}", daemon=True)
            for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def open_request(self, demand: Demand = NO_DEMAND, span: Span = NO_SPAN) -> Request:
        """Admit a request; its batches are added to ``span``.

        A draft of a live session closes an older one that has not begun. Raises ``Overloaded`` if
        the request would wait too long or too much is held already. What belongs to a live session
        is not refused, because the session as a whole has been admitted.
        """
        request = Request(demand, span)
        dropped: list[Job] = []
        with self._wake:
            if demand.live is None:
                self._admission.check(demand, self._queue.is_overdue)
            elif demand.live.draft_seconds is not None:
                request.expires_at = time.perf_counter() + demand.live.draft_seconds
                older = self._drafts.open(request, self._queue.jobs)
                if older is not None:
                    dropped = self._close(older)
            self._queue.open(request)
            self._admission.open(request)
        _drop(dropped)
        return request

    def close_request(self, request: Request) -> None:
        """Forget a request. Closing it again does nothing.

        Its waiting windows leave the queue at once, and their callers get :class:`RequestClosed`.
        Batches in service end without it.
        """
        with self._wake:
            dropped = self._close(request)
        _drop(dropped)

    def expect(self, request: Request, work_seconds: float) -> None:
        """Correct a request's demand: it will queue windows of this many seconds more."""
        with self._wake:
            request.expected_seconds = request.queued_seconds + work_seconds

    def hear(
        self,
        request: Request,
        hearing: Hearing,
        after: Job | None = None,
        *,
        again: bool = False,
    ) -> Job:
        """Begin a hearing without blocking. Its result is the returned job's ``heard``.

        ``after`` is an earlier job of the same window; the new one keeps its place in the order.
        ``again``: the window is part of an earlier one, and takes the place of the request's
        latest. The future raises :class:`RequestClosed` once the request is closed.
        """
        job = Job(request, next(hearing), hearing=hearing, is_again=again)
        if after is not None:
            job.tag, job.seconds, job.work_left = after.tag, after.seconds, after.work_left
        # Running futures cannot be cancelled: whoever loses interest closes the request.
        job.heard.set_running_or_notify_cancel()
        self._enqueue([job])
        return job

    def load(self) -> Load:
        """What is queued and how long newcomers would wait."""
        with self._wake:
            return self._admission.load(self._queue.is_overdue, time.perf_counter())

    def fault(self) -> str | None:
        """Why this scheduler cannot serve, or not as it should; None if nothing is wrong."""
        with self._wake:
            if not (self._is_stopping or all(thread.is_alive() for thread in self._threads)):
                return "a worker thread has ended"
            return self._health.fault(time.perf_counter())

    def set_limits(self, limits: BatchLimits) -> None:
        """Change the batch limits, from the next batch on."""
        with self._wake:
            self._queue.limits = limits

    @property
    def queued_windows(self) -> int:
        """The number of windows that wait for a stage."""
        with self._wake:
            return len(self._queue.jobs)

    def stop(self) -> None:
        """End the worker threads after their current batches. Whatever still waits fails."""
        with self._wake:
            self._is_stopping = True
            waiting, self._queue.jobs = self._queue.jobs, []
            self._wake.notify_all()
        _drop(waiting)
        for thread in self._threads:
            thread.join()

    def _close(self, request: Request) -> list[Job]:
        if not request.is_open:
            return []
        self._admission.close(request)
        self._drafts.close(request)
        return self._queue.close(request)

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        now = time.perf_counter()
        with self._wake:
            closed = [job for job in jobs if self._is_stopping or not job.request.is_open]
            for job in jobs:
                if job not in closed:
                    job.queued_at = now
                    self._queue.add(job)
            self._wake.notify(len(jobs) - len(closed))
        _drop(closed)

    def _work(self, worker: int) -> None:
        while True:
            with self._wake:
                batch = self._next_batch(worker)
                if not batch:
                    return
                began = time.perf_counter()
                self._admission.begin(worker, batch, began)
                self._health.begin(worker, len(batch), began)
                is_first = self._idle == self._workers
                alone = is_first and not self._queue.jobs
                if is_first:
                    self._active_since = began
                self._idle -= 1
            outcomes = self.device.run([job.step for job in batch], alone=alone)
            try:
                self._account(worker, batch, outcomes, began)
            except Exception:  # for a figure, no caller waits for ever and no worker ends
                logger.exception("a batch was not accounted for")
            told = zip(batch, outcomes, strict=True)
            self._enqueue([job for job, outcome in told if _go_on(job, outcome)])

    def _next_batch(self, worker: int) -> list[Job]:
        """Wait for work; [] if the scheduler stops."""
        while not self._is_stopping:
            for draft in self._drafts.expired(time.perf_counter(), self._queue.jobs):
                _drop(self._close(draft))
            batch = self._queue.take(self._idle)
            if batch:
                # What is held back may be allowed now, or may not be allowed to this worker only.
                self._wake.notify(len(self._queue.jobs))
                return batch
            self._admission.rest(worker, time.perf_counter())
            self._wake.wait()
        return []

    def _account(
        self, worker: int, batch: list[Job], outcomes: Sequence[Any], began: float
    ) -> None:
        """Report finished work to health, admission, metrics and traces."""
        with self._wake:
            # From here on this worker is idle, so that the next step of a lone request finds
            # nothing beside it and may use every core.
            self._idle += 1
            self._queue.finish(batch)
            ended = time.perf_counter()
            active_seconds = max(0.0, ended - self._active_since)
            self._active_since = max(self._active_since, ended)
            self._health.finish(worker, outcomes, ended)
            self._admission.finish(worker, batch, ended)
            slots = self._queue.limits.of(batch[0].step.stage)
        self._sink.count(metrics.ENGINE_ACTIVE_SECONDS, active_seconds)
        record_batch(self._sink, batch, slots, began, ended)


def _go_on(job: Job, outcome: Any) -> bool:
    """Send a hearing the result of its step. Returns whether it has another one."""
    assert job.hearing is not None
    try:
        if isinstance(outcome, BaseException):
            job.step = job.hearing.throw(outcome)
        else:
            job.step = job.hearing.send(outcome)
        return True
    except StopIteration as returned:
        job.heard.set_result(returned.value)
    except BaseException as error:
        job.heard.set_exception(error)
    return False


def _drop(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.hearing is not None:
            job.hearing.close()
        job.heard.set_exception(RequestClosed())
