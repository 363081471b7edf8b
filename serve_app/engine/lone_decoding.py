"""Whether a lone batch is decoded sooner by one worker's threads or by every core.

Encoding is a few large products and gains from every core. Decoding is thousands of small ones, and
each ends at a barrier: with few cores or a small model the barriers cost more than the cores bring
(two cores, int8, one window: 0.8 s with one thread and 1.0 to 1.8 s with two for base, 0.4 and 0.8
for tiny.en), with a large model or many cores they do not. So both are tried.
"""

import threading

TRIES = 3
"""Of each. The fastest counts, for others may have used the cores during a slow one."""

FEWEST_STEPS = 8
"""A shorter decoding says little: what each call costs besides its steps is most of it."""


class LoneDecoding:
    """Learns from the first lone batches of each size. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds_per_step: dict[int, dict[bool, list[float]]] = {}

    def uses_every_core(self, rows: int) -> bool:
        """For a batch of ``rows`` hypotheses: windows times beam width or samples."""
        with self._lock:
            tried = self._seconds_per_step.get(rows, {True: [], False: []})
            for every_core, seconds in tried.items():
                if len(seconds) < TRIES:
                    return every_core
            return min(tried[True]) < min(tried[False])

    def has_taken(self, rows: int, every_core: bool, steps: int, seconds: float) -> None:
        """A batch of ``rows`` came to ``steps`` tokens in its longest window."""
        if steps < FEWEST_STEPS:
            return
        with self._lock:
            tried = self._seconds_per_step.setdefault(rows, {True: [], False: []})
            if len(tried[every_core]) < TRIES:
                tried[every_core].append(seconds / steps)
