"""What live sessions cost an engine, and how many it can serve: no threads and no clock.

A session is charged by rate: while somebody speaks, it asks for a draft of every half second or so
and for the final text of each utterance. The cost of a second of speech is measured, so it follows
the model, the machine, the options and how many windows share a batch.
"""

from collections.abc import Sequence

from serve_app.engine.queue import Job
from serve_app.engine.request import Request

MEMORY_SECONDS = 120.0
"""Speech after which a measurement has faded to a third."""

LEAST_SECONDS = 10.0
"""Speech before which nothing is said about the cost."""

DRAFT_SHARE = 0.75
"""The share of the drafts that counts. When many people speak at once, each of them gets fewer
drafts, and the final texts hardly come later: see
``loadtest/results/live-epyc-2c-2026-11-29.md``."""

SEEN_SECONDS = 30.0
"""For how long after its latest request a session counts."""


class LiveCost:
    """The live work of an engine with ``workers`` workers. Times are of any monotonic clock."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._began: dict[int, float] = {}
        self._seen: dict[str, float] = {}
        self._busy_seconds = 0.0
        self._speech_seconds = 0.0

    def begin(self, worker: int, now: float) -> None:
        """A worker takes a batch."""
        self._began[worker] = now

    def finish(self, worker: int, batch: Sequence[Job], now: float) -> None:
        """A worker's batch is over; each of its windows has cost the same."""
        live = [one for job in batch if (one := job.request.demand.live) is not None]
        seconds = (now - self._began.pop(worker, now)) / len(batch)
        self._busy_seconds += sum(seconds * (DRAFT_SHARE if one.is_draft else 1.0) for one in live)
        self._seen |= {one.session: now for one in live}

    def close(self, request: Request) -> None:
        """A request is over."""
        if request.demand.live is None or not request.done_seconds:
            return
        seconds = request.demand.live.new_seconds
        kept = max(0.0, 1 - seconds / MEMORY_SECONDS)
        self._busy_seconds *= kept
        self._speech_seconds = kept * (self._speech_seconds + seconds)

    @property
    def capacity(self) -> float | None:
        """How many people may speak at once; None until it has been measured.

        They may take all of the workers' time.
        """
        if self._speech_seconds < LEAST_SECONDS or not self._busy_seconds:
            return None
        return self._workers * self._speech_seconds / self._busy_seconds

    def sessions(self, now: float) -> frozenset[str]:
        """The ids of the sessions that have asked for anything lately."""
        self._seen = {one: at for one, at in self._seen.items() if now - at < SEEN_SECONDS}
        return frozenset(self._seen)
