"""Whether the device works: how many batches in a row have failed, and how long one takes.

There are no threads and no clock here. Times are arguments, in seconds of any monotonic clock.
"""

from collections.abc import Sequence
from typing import Any

from serve_app.errors import DeviceFailed

MOST_FAILED_BATCHES = 3
"""One failure may be temporary. A broken CUDA context fails every batch at once."""

PATIENCE = 20.0
"""How many times longer than usual a batch may take. The length of texts differs by a factor of
ten."""

_REMEMBERED_BATCHES = 32


class Health:
    """The health of an engine whose numbered workers each run one batch at a time.

    A batch counts as stalled only after it has run for ``stall_seconds``.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._in_service: dict[int, tuple[int, float]] = {}
        self._n_batches = 0
        self._seconds_per_window = 0.0
        self._n_failed = 0

    def begin(self, worker: int, n_windows: int, now: float) -> None:
        """A worker takes a batch."""
        self._in_service[worker] = (n_windows, now)

    def finish(self, worker: int, outcomes: Sequence[Any], now: float) -> None:
        """A worker's batch is over. ``outcomes`` has a result or an exception for each window."""
        n_windows, began = self._in_service.pop(worker)
        if all(isinstance(outcome, DeviceFailed) for outcome in outcomes):
            self._n_failed += 1
            return
        self._n_failed = 0
        self._n_batches += 1
        change = (now - began) / n_windows - self._seconds_per_window
        self._seconds_per_window += change / min(self._n_batches, _REMEMBERED_BATCHES)

    def fault(self, now: float) -> str | None:
        """What is wrong with the device; None if it works."""
        if self._n_failed >= MOST_FAILED_BATCHES:
            return f"the device failed {self._n_failed} batches in a row"
        for n_windows, began in self._in_service.values():
            usual = self._seconds_per_window * n_windows
            if now - began > max(self._stall_seconds, PATIENCE * usual):
                return f"a batch has run for {now - began:.0f} s; {usual:.1f} s are usual"
        return None
