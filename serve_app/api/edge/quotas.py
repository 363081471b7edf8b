"""What each API key may use: requests at once, and audio per minute."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.api.edge.keys_file import NamedKey
from serve_app.errors import Overloaded, QuotaExceeded

MINUTE_SECONDS = 60.0
ROUNDING_SECONDS = 0.001
"""Tolerance for rounding errors, in seconds: six times 10 s must fit into a minute."""


class Quotas:
    """What each key has used on one replica. Not thread-safe: it belongs to one event loop.

    Requests without a key (None) have no quota. ``clock`` is in seconds. Audio is a token bucket
    with room for a minute's worth. One number per key describes it: the time at which it is full
    again (the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._full_at: dict[str, float] = {}

    @contextmanager
    def running(self, key: NamedKey) -> Iterator[None]:
        """Count a request of ``key`` for the length of the block. Raises ``QuotaExceeded``."""
        most = key.quota.concurrent_requests
        if most is not None and self._running[key.name] >= most:
            raise QuotaExceeded(
                f"Requests of this API key in progress at once: at most {most}. Send this one "
                "again when another has been answered."
            )
        self._running[key.name] += 1
        try:
            yield
        finally:
            self._running[key.name] -= 1
            if not self._running[key.name]:
                del self._running[key.name]

    @contextmanager
    def charging(self, key: NamedKey | None, audio_seconds: float) -> Iterator[None]:
        """Charge audio that the block transcribes, and refund it if the block is ``Overloaded``.

        Only then has nothing been done for it. Any other error, or a caller who leaves, may have
        cost all the work. Raises ``QuotaExceeded`` as :meth:`charge` does.
        """
        cost = self.charge(key, audio_seconds)
        try:
            yield
        except Overloaded:
            if key is not None and cost:
                self._full_at[key.name] -= cost
            raise

    def charge(self, key: NamedKey | None, audio_seconds: float) -> float:
        """Take audio from the key's minute. Returns its cost, in seconds until it is restored.

        Audio longer than the whole bucket needs a full one and is paid off afterwards. Charging 0 s
        only asks whether earlier audio has been paid off. Raises ``QuotaExceeded`` with the time
        until there is enough.
        """
        rate = None if key is None else key.quota.audio_seconds_per_minute
        if key is None or rate is None:
            return 0.0
        now = self._clock()
        full_at = max(now, self._full_at.get(key.name, now))
        cost = MINUTE_SECONDS * audio_seconds / rate
        wait = full_at - now - max(0.0, MINUTE_SECONDS - cost)
        if wait > ROUNDING_SECONDS:
            raise QuotaExceeded(
                f"This API key may send {rate:g} s of audio a minute and has done so. "
                f"Send this request again in {math.ceil(wait)} s.",
                retry_after_seconds=wait,
            )
        self._full_at[key.name] = full_at + cost
        return cost
