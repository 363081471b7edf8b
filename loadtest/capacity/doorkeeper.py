"""The engine's own admission in virtual time, told what the real scheduler tells it."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.engine.admission import Admission, Demand
from serve_app.engine.pipeline_call import WINDOW_SECONDS
from serve_app.engine.policy import FairQueue, Stage
from serve_app.engine.scheduler import MAX_REQUESTS
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings

WindowName = tuple[int, int]
"""A request's number and the window's number in it."""


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
        self._work_left: dict[WindowName, float] = {}

    def admits(self, request: int, audio_seconds: float, work_seconds: float) -> bool:
        """Whether the request may join; if so it has joined."""
        if self._admission is None:
            return True
        demand = Demand(audio_seconds, work_seconds)
        try:
            self._admission.check(demand, self._queue.is_overdue)
        except Overloaded:
            return False
        self._admission.open(request, demand)
        return True

    def charge(self, window: WindowName) -> None:
        """A window is queued."""
        if self._admission:
            self._work_left[window] = WINDOW_SECONDS
            self._admission.charge(window[0], WINDOW_SECONDS)

    def begin(self, worker: int, bulk_seconds: float, now: float) -> None:
        """A worker takes a batch, so much of it for requests that nobody waits for."""
        if self._admission:
            self._admission.throughput.resume(worker, now)
            self._admission.serve(bulk_seconds)

    def finish(
        self,
        worker: int,
        stage: Stage,
        windows: Sequence[WindowName],
        bulk_seconds: float,
        now: float,
    ) -> None:
        """A worker's batch has ended: a window is done in part when encoded, wholly with a text."""
        if self._admission is None:
            return
        throughput = self._admission.throughput
        share = {Stage.ENCODE: throughput.encoding_share, Stage.GENERATE: 1.0}.get(stage, 0.0)
        work = [(name, share * self._work_left.get(name, 0.0)) for name in windows]
        seconds = WINDOW_SECONDS * sum(done > 0 for _, done in work)
        if stage is Stage.ENCODE:
            throughput.done(worker, now, encoded=seconds)
        else:
            throughput.done(worker, now, decoded=seconds)
        for name, done in work:
            self._work_left[name] = self._work_left.get(name, 0.0) - done
            self._admission.finish(name[0], done)
        self._admission.serve(-bulk_seconds)

    def rest(self, worker: int, now: float) -> None:
        """A worker finds nothing to do."""
        if self._admission:
            self._admission.throughput.rest(worker, now)

    def close(self, request: int, windows: Sequence[int]) -> None:
        """The request has been answered."""
        if self._admission:
            self._admission.close(request)
            for window in windows:
                self._work_left.pop((request, window), None)
