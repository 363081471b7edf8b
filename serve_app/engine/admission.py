"""Whether a request is queued or refused: how long it would wait, and how much is held already.

The engine refuses early what would come too late. A short request, all of which somebody may be
waiting for, is held to ``AdmissionSettings.max_wait_seconds``; any other to
``bulk_max_wait_seconds``. The wait is the work that goes ahead of the newcomer, divided by the
throughput under load:

- Ahead of a short request go the others with a head start (:mod:`serve_app.engine.queue`). Each
  counts with no more work than the newcomer brings itself, because fair order serves them in turns.
  Long files let it pass until one lags so far that it takes turns too.
- Ahead of a bulk request goes everything, which is the longest that it can wait.

Work is in window seconds (:mod:`serve_app.engine.request`). There are no threads and no clock here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.caller import Priority
from serve_app.engine.live_cost import LiveCost
from serve_app.engine.queue import Job, Stage
from serve_app.engine.request import WINDOW_SECONDS, Demand, Request
from serve_app.engine.throughput import FadingRate, Throughput
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings

LEAST_RETRY_SECONDS = 1.0

BULK_SHARE = 0.75
"""The share of places and of held audio that bulk requests may fill. The rest is for short
requests, so that files cannot lock them out."""

IsOverdue = Callable[[Request], bool]
""":meth:`serve_app.engine.queue.FairQueue.is_overdue`."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused, and in how many seconds it may be accepted."""

    reason: str
    retry_after_seconds: float


@dataclass(frozen=True)
class Load:
    """What an engine holds at one moment.

    ``queued_audio_seconds`` is audio of open requests that is not transcribed yet. ``rtfx`` is the
    audio seconds per second that the engine does with every worker busy, ``work_per_second`` the
    same in window seconds; both are 0.0 until it has done some work. ``wait_seconds`` and
    ``bulk_wait_seconds`` are the estimated waits of a short and of a bulk request that arrives now.
    ``refusal`` and ``bulk_refusal`` are what the smallest request of either kind would be told.
    ``live_sessions`` are the ids of those that have asked for something lately; people in
    ``live_capacity`` of them may speak at once, None while that is not known.
    """

    open_requests: int
    queued_audio_seconds: float
    rtfx: float
    work_per_second: float
    wait_seconds: float
    bulk_wait_seconds: float
    refusal: Refusal | None
    bulk_refusal: Refusal | None
    live_sessions: frozenset[str] = frozenset()
    live_capacity: float | None = None


_SHORTEST = Demand(0.0, WINDOW_SECONDS, Priority.INTERACTIVE)
_SHORTEST_BULK = Demand(0.0, WINDOW_SECONDS, Priority.BULK)


class Admission:
    """The open requests of an engine, and what may still join them: at most ``max_requests``.

    It hears what the engine's workers do, and learns from that how fast they are. Not thread-safe.
    """

    def __init__(self, bounds: AdmissionSettings, max_requests: int, workers: int) -> None:
        self.throughput = Throughput(workers)
        self.live = LiveCost(workers)
        self._bounds = bounds
        self._max_requests = max_requests
        self._open: set[Request] = set()
        self._bulk_in_service: dict[int, float] = {}
        self._audio_per_work = FadingRate()

    def check(self, demand: Demand, is_overdue: IsOverdue) -> None:
        """Raise ``Overloaded`` if ``demand`` must not be queued now."""
        refusal = self._refusal(demand, is_overdue)
        if refusal is not None:
            raise Overloaded(refusal.reason, retry_after_seconds=refusal.retry_after_seconds)

    def wait_seconds(self, demand: Demand, is_overdue: IsOverdue) -> float:
        """Estimated wait of a request that arrives now, in seconds; 0.0 until the first work is
        done.
        """
        ahead = self._ahead(demand, is_overdue)
        if demand.is_short:  # nothing stops a batch that has begun
            # It is in one of two stages that cost about as much.
            ahead += sum(self._bulk_in_service.values()) / 2
        return self._seconds(ahead)

    def open(self, request: Request) -> None:
        """Count a request as queued."""
        self._open.add(request)

    def begin(self, worker: int, batch: Sequence[Job], now: float) -> None:
        """A worker takes a batch. ``now`` is in seconds, here and below, of any monotonic clock."""
        self.throughput.resume(worker, now)
        self.live.begin(worker, now)
        bulk = sum(job.seconds for job in batch if not job.request.is_interactive)
        self._bulk_in_service[worker] = bulk

    def finish(self, worker: int, batch: Sequence[Job], now: float) -> None:
        """A worker's batch is over.

        A window is done in part once it is encoded, and wholly once it has its text.
        """
        throughput, stage = self.throughput, batch[0].step.stage
        share = {Stage.ENCODE: throughput.encoding_share, Stage.GENERATE: 1.0}.get(stage, 0.0)
        seconds = 0.0
        for job in batch:
            done = share * job.work_left
            job.work_left -= done
            job.request.done_seconds += done
            seconds += job.seconds if done else 0.0
        if stage is Stage.ENCODE:
            throughput.done(worker, now, encoded=seconds)
        else:
            throughput.done(worker, now, decoded=seconds)
        self._bulk_in_service.pop(worker, None)
        self.live.finish(worker, batch, now)

    def rest(self, worker: int, now: float) -> None:
        """A worker has nothing to do, now or still."""
        self.throughput.rest(worker, now)

    def close(self, request: Request) -> None:
        """Forget a request, whether it is done or not."""
        self._open.discard(request)
        self.live.close(request)
        if request.done_seconds > 0 and not request.demand.is_draft:
            audio = request.demand.audio_seconds - request.audio_left_seconds
            self._audio_per_work.add(audio, request.done_seconds, fading=request.done_seconds)

    def load(self, is_overdue: IsOverdue, now: float) -> Load:
        """Everything held now."""
        return Load(
            open_requests=len(self._open),
            queued_audio_seconds=sum(request.audio_left_seconds for request in self._open),
            rtfx=self.throughput.work_per_second * self._audio_per_work.value,
            work_per_second=self.throughput.work_per_second,
            wait_seconds=self.wait_seconds(_SHORTEST, is_overdue),
            bulk_wait_seconds=self.wait_seconds(_SHORTEST_BULK, is_overdue),
            refusal=self._refusal(_SHORTEST, is_overdue),
            bulk_refusal=self._refusal(_SHORTEST_BULK, is_overdue),
            live_sessions=self.live.sessions(now),
            live_capacity=self.live.capacity,
        )

    def _seconds(self, work: float) -> float:
        rate = self.throughput.work_per_second
        return work / rate if rate > 0 else 0.0

    def _ahead(self, demand: Demand, is_overdue: IsOverdue) -> float:
        """Work that goes before a newcomer's own, in window seconds."""
        if not demand.is_short:
            return sum(request.left_seconds for request in self._open)
        return sum(
            min(
                demand.work_seconds,
                request.left_seconds if is_overdue(request) else request.left_with_head_start,
            )
            for request in self._open
        )

    def _refusal(self, demand: Demand, is_overdue: IsOverdue) -> Refusal | None:
        for reason in (self._no_place, self._too_much_audio):
            if (refusal := reason(demand)) is not None:
                return refusal
        ahead = self._ahead(demand, is_overdue)
        wait = self.wait_seconds(demand, is_overdue)
        bound, kind = self._bounds.bulk_max_wait_seconds, "bulk"
        if demand.is_short:
            bound, kind = self._bounds.max_wait_seconds, "short"
        if ahead == 0 or wait <= bound:
            return None
        return _refusal(
            f"The estimated wait is {wait:.1f} s; {kind} requests are queued for at most "
            f"{bound:g} s.",
            wait - bound,
        )

    def _no_place(self, demand: Demand) -> Refusal | None:
        places = self._max_requests if demand.is_short else int(BULK_SHARE * self._max_requests)
        held = len(self._open)
        if held < max(1, places):
            return None
        left = sum(request.left_seconds for request in self._open)
        return _refusal(
            f"{held} requests are queued, the most that this server holds.",
            self._seconds(left / held),
        )

    def _too_much_audio(self, demand: Demand) -> Refusal | None:
        demands = [request.demand for request in self._open]
        short = sum(held.held_seconds for held in demands if held.is_short)
        bulk = sum(held.held_seconds for held in demands if not held.is_short)
        most = self._bounds.max_queued_audio_seconds
        if demand.is_short:  # a lone file may hold more than the share, but takes no more of it
            rivals = held = short + min(bulk, BULK_SHARE * most)
        else:
            most *= BULK_SHARE
            rivals, held = bulk, short + bulk
        excess = held + demand.held_seconds - most
        if rivals == 0 or excess <= 0:
            return None
        return _refusal(
            f"{short + bulk:.0f} s of audio are queued; with the {demand.held_seconds:.0f} s of "
            f"this request it would be more than {most:g} s.",
            self._seconds_until_freed(excess),
        )

    def _seconds_until_freed(self, audio_seconds: float) -> float:
        """Seconds until so much held audio is released. A request holds all of its audio to its
        end.

        If requests are served in equal turns, the one with the least work left ends first.
        """
        freed = 0.0
        work = 0.0
        by_end = sorted(self._open, key=lambda request: request.left_seconds)
        for number, request in enumerate(by_end):
            work += request.left_seconds
            freed += request.demand.held_seconds
            if freed >= audio_seconds:
                n_longer = len(by_end) - number - 1
                return self._seconds(work + n_longer * request.left_seconds)
        return self._seconds(work)


def _refusal(reason: str, retry_after_seconds: float) -> Refusal:
    return Refusal(reason, max(LEAST_RETRY_SECONDS, retry_after_seconds))
