"""The mechanism around :mod:`serve_app.engine.policy`: worker threads, futures, one lock.

Callers (one thread per request) queue stages of windows and block on futures; worker threads take
the batches that the policy forms and run them on a :class:`Backend`.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from serve_app.engine.policy import BatchLimits, FairQueue, Item, Stage

FOLLOW_UP_SECONDS = 0.005
"""How long a worker leaves a long file waiting for the next stage of what it has just served: the
time in which faster-whisper's pipeline, in the request's own thread, comes back with it."""


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
class _Job:
    item: Item
    payload: Any
    future: "Future[Any]"
    queued_at: float


@dataclass
class StageStats:
    """Totals of one stage since start."""

    batches: int = 0
    windows: int = 0
    busy_seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass
class Window:
    """One window in the engine: its place in the order and its encoder output, once it is there.

    ``seconds`` is the audio that the window spans, padding included, since that is its cost.
    """

    request: int
    tag: float
    seconds: float
    encoded: "Future[Any]" = field(default_factory=Future)


class Scheduler:
    """Runs the stages of all open requests' windows on ``workers`` threads over one backend."""

    def __init__(self, backend: Backend, limits: BatchLimits, workers: int) -> None:
        self._backend = backend
        self._queue = FairQueue(limits)
        self._jobs: dict[int, _Job] = {}
        self._open: set[int] = set()
        self._next_request = 0
        self._idle = workers
        self._workers = workers
        self._stopping = False
        self._wake = threading.Condition()
        self.stats = {stage: StageStats() for stage in Stage}
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-worker-{n}", daemon=True)
            for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def open_request(self, weight: float = 1.0) -> int:
        """Admit a request; every later call names it by the returned id."""
        with self._wake:
            request = self._next_request
            self._next_request += 1
            self._queue.open(request, weight)
            self._open.add(request)
            return request

    def close_request(self, request: int) -> None:
        """Forget a request. Its waiting windows leave the queue at once and their callers get
        :class:`RequestClosed`; batches in service end without it.
        """
        with self._wake:
            self._open.discard(request)
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
        self._jobs[item.sequence] = _Job(item, payload, future, time.perf_counter())
        self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue.items and not self._stopping:
                    self._wake.wait()
                if self._stopping:
                    return
                items = self._queue.take(self._idle)
                batch = [self._jobs.pop(item.sequence) for item in items]
                alone = self._idle == self._workers and not self._queue.items
                self._idle -= 1
            try:
                self._serve(batch, alone)
            finally:
                with self._wake:
                    self._idle += 1
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

    def _serve(self, batch: list[_Job], alone: bool) -> None:
        started = time.perf_counter()
        outcomes = self._run(batch, alone)
        elapsed = time.perf_counter() - started
        stage = batch[0].item.stage
        with self._wake:
            stats = self.stats[stage]
            stats.batches += 1
            stats.windows += len(batch)
            stats.busy_seconds += elapsed
            stats.wait_seconds += sum(started - job.queued_at for job in batch)
        # Outside the lock: a future's callbacks queue the window's next stage.
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)

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
