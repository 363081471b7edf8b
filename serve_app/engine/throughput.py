"""How much work the engine does per second while every worker is busy.

A rate over all time says how much was asked for, and a rate from a lone short request says how slow
an empty machine is: decoding one window takes nearly as long as decoding eight. So work counts only
for the time in which all workers were busy. Until there has been enough of that, the rate is the
work per second in which anything ran.

Work is counted in window seconds: the audio that windows span, padding included. The padding costs
as much as speech, so this rate is right for 5 s of dictation and for an hour's lecture, unlike
audio seconds per second (RTFx).

There are no threads and no clock here. The times of calls are arguments, in seconds of any
monotonic clock.
"""

from dataclasses import dataclass

MEMORY_SECONDS = 1920.0
"""Work after which a measurement has faded to a third: 64 windows, a minute or two on two cores."""

ENOUGH_SECONDS = 240.0
"""From this much work with every worker busy, only such work counts: eight windows."""


@dataclass
class FadingRate:
    """Amount per second, or per another unit, over about the last ``MEMORY_SECONDS`` of amount."""

    amount: float = 0.0
    per: float = 0.0

    def add(self, amount: float, per: float, fading: float | None = None) -> None:
        """Add ``amount`` done in ``per``. ``fading`` is the amount that fades, if it is another."""
        kept = max(0.0, 1 - (amount if fading is None else fading) / MEMORY_SECONDS)
        self.amount = kept * self.amount + amount
        self.per = kept * self.per + per

    @property
    def value(self) -> float:
        """The rate; 0.0 until something is known."""
        return self.amount / self.per if self.per > 0 else 0.0


@dataclass(frozen=True)
class _Mark:
    """Since when a worker has been busy, and for how long all workers had been busy until then."""

    at: float
    full_seconds: float


class Throughput:
    """The rates of an engine with numbered workers, which rest at first."""

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
        """A worker has nothing to do, now or still."""
        self._advance(now)
        self._marks.pop(worker, None)

    def resume(self, worker: int, now: float) -> None:
        """A worker has something to do, now or still."""
        self._advance(now)
        self._marks.setdefault(worker, _Mark(now, self._full_seconds))

    def done(self, worker: int, now: float, *, encoded: float = 0.0, decoded: float = 0.0) -> None:
        """A worker is done with a batch that it began when it resumed or was last done.

        ``encoded`` are the window seconds that it has encoded, ``decoded`` those of the windows
        that it has given their first text. Both are 0.0 after any other batch.
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
        """The share of a window's work that is its encoding. With it, bursts show an even rate,
        although they are encoded first and decoded later.
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
