"""How much work the engine does per second while every worker has something to do.

A rate taken over all time says how much was asked for, and one taken from a lone short request says
how slow an empty machine is: decoding one window costs nearly as much as decoding eight. So work
counts by how much of its time no worker lacked any. Until enough of that has been seen, what was
done per second in which anything was served stands in for it.

Work is counted in window seconds: the audio that windows span, their padding included. A window
costs about the same however much of it is speech, so a rate of these holds for 5 s of dictation and
for an hour of a lecture alike, which audio seconds per second (RTFx) does not.

No threads and no clock: the times of calls are arguments, in seconds of any monotonic clock.
"""

from dataclasses import dataclass

MEMORY_SECONDS = 1920.0
"""Work after which a measurement has faded to a third: 64 windows, a minute or two on two cores."""

ENOUGH_SECONDS = 240.0
"""Work with every worker busy from which on only such work counts: eight windows."""


@dataclass
class FadingRate:
    """Amount per second, or per any other unit, of about the last ``MEMORY_SECONDS`` of amount."""

    amount: float = 0.0
    per: float = 0.0

    def add(self, amount: float, per: float, fading: float | None = None) -> None:
        """Add ``amount`` done in ``per``; ``fading`` is the amount that fades, if it is another."""
        kept = max(0.0, 1 - (amount if fading is None else fading) / MEMORY_SECONDS)
        self.amount = kept * self.amount + amount
        self.per = kept * self.per + per

    @property
    def value(self) -> float:
        """The rate; 0.0 while nothing is known."""
        return self.amount / self.per if self.per > 0 else 0.0


@dataclass(frozen=True)
class _Mark:
    """Since when a worker has been at its work, and how long until then no worker lacked any."""

    at: float
    full_seconds: float


class Throughput:
    """Rates of an engine with ``workers`` workers, named by any number, which rest at first."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._marks: dict[int, _Mark] = {}
        self._now = 0.0
        self._full_seconds = 0.0
        self._active_seconds = 0.0
        self._noted_active_seconds = 0.0
        self._full = FadingRate()
        self._any = FadingRate()
        self._encoding = FadingRate()
        self._decoding = FadingRate()

    def rest(self, worker: int, now: float) -> None:
        """A worker finds nothing to do, now or still."""
        self._advance(now)
        self._marks.pop(worker, None)

    def resume(self, worker: int, now: float) -> None:
        """A worker has something to do, now or still."""
        self._advance(now)
        self._marks.setdefault(worker, _Mark(now, self._full_seconds))

    def done(self, worker: int, now: float, *, encoded: float = 0.0, decoded: float = 0.0) -> None:
        """A worker has encoded so many window seconds since it resumed or was last done, or else
        has given so many their first text, 0.0 if it has done anything besides.
        """
        self._advance(now)
        mark = self._marks[worker]
        span, full = now - mark.at, self._full_seconds - mark.full_seconds
        work = self.encoding_share * encoded + (1 - self.encoding_share) * decoded
        if encoded:
            self._encoding.add(encoded, span)
        else:
            self._decoding.add(decoded, span)
        if span > 0:
            self._full.add(work * full / span, full / self._workers)
        self._any.add(work, self._active_seconds - self._noted_active_seconds)
        self._noted_active_seconds = self._active_seconds
        self._marks[worker] = _Mark(now, self._full_seconds)

    @property
    def encoding_share(self) -> float:
        """How much of a window's work is its encoding, so that bursts, which are encoded before
        they are decoded, show the same rate all along.
        """
        if not (self._encoding.value and self._decoding.value):
            return 0.5
        return self._decoding.value / (self._encoding.value + self._decoding.value)

    @property
    def work_per_second(self) -> float:
        """Window seconds per second under load; 0.0 until any work is done."""
        if self._full.amount >= ENOUGH_SECONDS:
            return self._full.value
        return max(self._any.value, self._full.value)

    def _advance(self, now: float) -> None:
        passed, self._now = now - self._now, now
        if len(self._marks) == self._workers:
            self._full_seconds += passed
        if self._marks:
            self._active_seconds += passed
