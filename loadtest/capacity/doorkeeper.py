"""The engine's own admission in virtual time, told what the real scheduler tells it."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.engine.admission import Admission
from serve_app.engine.queue import FairQueue, Job, Stage
from serve_app.engine.request import Request
from serve_app.engine.scheduler import MAX_REQUESTS
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings


@dataclass(frozen=True)
class Bounds:
    """What a replica refuses: its admission settings and the most requests that it holds."""

    admission: AdmissionSettings
    max_requests: int = MAX_REQUESTS


class Doorkeeper:
    """Admits requests to one replica's ``queue``; without ``bounds`` it admits all."""

    def __init__(self, bounds: Bounds | None, workers: int, queue: FairQueue) -> None:
        self._admission = (
            Admission(bounds.admission, bounds.max_requests, workers) if bounds else None
        )
        self._queue = queue
        self._bulk: dict[int, float] = {}

    def admits(self, request: Request) -> bool:
        """Whether the request may join; if so it has joined."""
        if self._admission is None:
            return True
        try:
            self._admission.check(request.demand, self._queue.is_overdue)
        except Overloaded:
            return False
        self._admission.open(request)
        return True

    def begin(self, worker: int, batch: Sequence[Job], now: float) -> None:
        """A worker takes a batch."""
        if self._admission:
            self._bulk[worker] = sum(j.seconds for j in batch if not j.request.is_interactive)
            self._admission.throughput.resume(worker, now)
            self._admission.serve(self._bulk[worker])

    def finish(self, worker: int, batch: Sequence[Job], now: float) -> None:
        """A worker's batch has ended.

        A window is done in part once it is encoded, and wholly once it has its text.
        """
        if self._admission is None:
            return
        throughput, stage = self._admission.throughput, batch[0].step.stage
        share = {Stage.ENCODE: throughput.encoding_share, Stage.GENERATE: 1.0}.get(stage, 0.0)
        done = [share * job.work_left for job in batch]
        seconds = sum(job.seconds for job, work in zip(batch, done, strict=True) if work)
        if stage is Stage.ENCODE:
            throughput.done(worker, now, encoded=seconds)
        else:
            throughput.done(worker, now, decoded=seconds)
        for job, work in zip(batch, done, strict=True):
            job.work_left -= work
            job.request.done_seconds += work
        self._admission.serve(-self._bulk.pop(worker))

    def rest(self, worker: int, now: float) -> None:
        """A worker finds nothing to do."""
        if self._admission:
            self._admission.throughput.rest(worker, now)

    def close(self, request: Request) -> None:
        """The request has been answered."""
        if self._admission:
            self._admission.close(request)
