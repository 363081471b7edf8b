"""Whether a request is queued or refused: how long it would wait, and how much is held already.

The engine refuses early what would come too late. A short request (one that is interactive for all
of its length) is held to ``AdmissionSettings.max_wait_seconds``, any other to
``bulk_max_wait_seconds``. The wait is the work that goes ahead of the newcomer, divided by the
throughput under load:

- ahead of a short request go the others with credit (see :mod:`serve_app.engine.policy`), each with
  no more work than the newcomer itself brings, since fair order serves them in turns; long files
  let it pass, until one lags so far that it takes turns too;
- ahead of a bulk request is everything, which is the longest that it can wait.

Work is in window seconds, as in :mod:`serve_app.engine.throughput`. No threads and no clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

from serve_app.core import Priority
from serve_app.engine.policy import INTERACTIVE_SECONDS
from serve_app.engine.throughput import FadingRate, Throughput
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings

LEAST_RETRY_SECONDS = 1.0

BULK_SHARE = 0.75
"""Of the places and of the audio that may be held, what bulk requests may fill; the rest is for
short ones, which no number of files locks out."""

ONE_WINDOW_SECONDS = 30.0

IsOverdue = Callable[[int], bool]
""":meth:`serve_app.engine.policy.FairQueue.is_overdue`, of an open request."""


@dataclass(frozen=True)
class Demand:
    """What a request asks of the engine.

    ``audio_seconds`` as received; ``work_seconds`` of windows, padding included, as far as can be
    told beforehand.
    """

    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    priority: Priority = Priority.AUTO

    @property
    def is_short(self) -> bool:
        """Whether somebody may be waiting for all of it."""
        if self.priority is Priority.AUTO:
            return self.audio_seconds <= INTERACTIVE_SECONDS
        return self.priority is Priority.INTERACTIVE


NOTHING = Demand()
"""What is never refused for its own size."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not queued, and after how many seconds it might be."""

    reason: str
    retry_after_seconds: float


@dataclass(frozen=True)
class Load:
    """What an engine holds at one moment.

    ``queued_audio_seconds``: audio of open requests that is not transcribed yet. ``rtfx``: audio
    seconds per second that the engine does with every worker busy; ``work_per_second``: the same in
    window seconds; both 0.0 until it has done any. ``wait_seconds`` and ``bulk_wait_seconds``:
    estimated wait of a short and of a bulk request that came now. ``refusal`` and ``bulk_refusal``:
    what the least of either would be told.
    """

    open_requests: int
    queued_audio_seconds: float
    rtfx: float
    work_per_second: float
    wait_seconds: float
    bulk_wait_seconds: float
    refusal: Refusal | None
    bulk_refusal: Refusal | None


@dataclass
class _Progress:
    """One open request: window seconds expected, queued so far, and done."""

    demand: Demand
    expected: float
    charged: float = 0.0
    done: float = 0.0

    @property
    def total(self) -> float:
        return max(self.expected, self.charged)

    @property
    def left(self) -> float:
        return max(0.0, self.total - self.done)

    @property
    def left_with_credit(self) -> float:
        if self.demand.priority is Priority.AUTO:
            return min(self.left, max(0.0, INTERACTIVE_SECONDS - self.done))
        return self.left if self.demand.priority is Priority.INTERACTIVE else 0.0

    @property
    def audio_left(self) -> float:
        return self.demand.audio_seconds * self.left / self.total if self.total else 0.0


_SHORTEST = Demand(0.0, ONE_WINDOW_SECONDS, Priority.INTERACTIVE)
_SHORTEST_BULK = Demand(0.0, ONE_WINDOW_SECONDS, Priority.BULK)


class Admission:
    """The open requests of an engine and what may still join them: at most ``max_requests``.

    Its caller feeds ``throughput``. Not thread-safe.
    """

    def __init__(self, bounds: AdmissionSettings, max_requests: int, workers: int) -> None:
        self.throughput = Throughput(workers)
        self._bounds = bounds
        self._max_requests = max_requests
        self._open: dict[int, _Progress] = {}
        self._bulk_in_service = 0.0
        self._audio_per_work = FadingRate()

    def check(self, demand: Demand, is_overdue: IsOverdue) -> None:
        """Raise ``Overloaded`` where ``demand`` is not to be queued now."""
        refusal = self._refusal(demand, is_overdue)
        if refusal is not None:
            raise Overloaded(refusal.reason, retry_after_seconds=refusal.retry_after_seconds)

    def wait_seconds(self, demand: Demand, is_overdue: IsOverdue) -> float:
        """Estimated wait of a request that came now, before its own work is begun.

        0.0 until the first work is done.
        """
        ahead = self._ahead(demand, is_overdue)
        if demand.is_short:  # nothing stops a batch that has begun
            ahead += self._bulk_in_service / 2  # one of two stages, about
        return self._seconds(ahead)

    def open(self, request: int, demand: Demand) -> None:
        """Count a request as queued."""
        self._open[request] = _Progress(demand, demand.work_seconds)

    def expect(self, request: int, work_seconds: float) -> None:
        """Correct what is expected of a request: so much besides what it has queued."""
        if request in self._open:
            self._open[request].expected = self._open[request].charged + work_seconds

    def charge(self, request: int, work_seconds: float) -> None:
        """A window of an open request has been queued; padding cut off it was expected in vain."""
        progress = self._open[request]
        progress.charged += work_seconds
        progress.expected -= max(0.0, ONE_WINDOW_SECONDS - work_seconds)

    def serve(self, bulk_seconds: float) -> None:
        """Windows of bulk requests go into service for one stage, or with a minus leave it."""
        self._bulk_in_service += bulk_seconds

    def finish(self, request: int, work_seconds: float) -> None:
        """So much of a request's work has been done; it may be closed already."""
        if request in self._open:
            self._open[request].done += work_seconds

    def close(self, request: int) -> None:
        """Forget a request, done or not; closing it again does nothing."""
        progress = self._open.pop(request, None)
        if progress is not None and progress.done > 0:
            audio = progress.demand.audio_seconds - progress.audio_left
            self._audio_per_work.add(audio, progress.done, fading=progress.done)

    def load(self, is_overdue: IsOverdue) -> Load:
        """Everything held now."""
        return Load(
            open_requests=len(self._open),
            queued_audio_seconds=sum(progress.audio_left for progress in self._open.values()),
            rtfx=self._rtfx,
            work_per_second=self.throughput.work_per_second,
            wait_seconds=self.wait_seconds(_SHORTEST, is_overdue),
            bulk_wait_seconds=self.wait_seconds(_SHORTEST_BULK, is_overdue),
            refusal=self._refusal(_SHORTEST, is_overdue),
            bulk_refusal=self._refusal(_SHORTEST_BULK, is_overdue),
        )

    @property
    def _rtfx(self) -> float:
        return self.throughput.work_per_second * self._audio_per_work.value

    def _seconds(self, work: float) -> float:
        rate = self.throughput.work_per_second
        return work / rate if rate > 0 else 0.0

    def _ahead(self, demand: Demand, is_overdue: IsOverdue) -> float:
        """Work that goes before a newcomer's own, in window seconds."""
        if not demand.is_short:
            return sum(progress.left for progress in self._open.values())
        return sum(
            min(
                demand.work_seconds,
                progress.left if is_overdue(request) else progress.left_with_credit,
            )
            for request, progress in self._open.items()
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
        left = sum(progress.left for progress in self._open.values())
        return _refusal(
            f"{held} requests are queued, as many as may be.", self._seconds(left / held)
        )

    def _too_much_audio(self, demand: Demand) -> Refusal | None:
        demands = [progress.demand for progress in self._open.values()]
        short = sum(held.audio_seconds for held in demands if held.is_short)
        bulk = sum(held.audio_seconds for held in demands if not held.is_short)
        most = self._bounds.max_queued_audio_seconds
        if demand.is_short:  # a lone file may hold more than the share, but takes no more of it
            rivals = held = short + min(bulk, BULK_SHARE * most)
        else:
            most *= BULK_SHARE
            rivals, held = bulk, short + bulk
        excess = held + demand.audio_seconds - most
        if rivals == 0 or excess <= 0:
            return None
        return _refusal(
            f"{short + bulk:.0f} s of audio are queued; with the {demand.audio_seconds:.0f} s of "
            f"this request it would be more than {most:g} s.",
            self._seconds_until_freed(excess),
        )

    def _seconds_until_freed(self, audio_seconds: float) -> float:
        """Until so much held audio is let go of: a request keeps all of its own until it ends.

        Served in equal turns, the one with the least work left ends first.
        """
        freed = 0.0
        work = 0.0
        by_end = sorted(self._open.values(), key=lambda progress: progress.left)
        for number, progress in enumerate(by_end):
            work += progress.left
            freed += progress.demand.audio_seconds
            if freed >= audio_seconds:
                n_longer = len(by_end) - number - 1
                return self._seconds(work + n_longer * progress.left)
        return self._seconds(work)


def _refusal(reason: str, retry_after_seconds: float) -> Refusal:
    return Refusal(reason, max(LEAST_RETRY_SECONDS, retry_after_seconds))
