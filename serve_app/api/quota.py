"""What each API key may use: requests at once, and audio per minute."""

import math
import time
from collections import Counter
from collections.abc import Callable

from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.core import SpeechCore
from serve_app.errors import QuotaExceeded
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.settings import QuotaSettings
from serve_app.transcript import Transcript

MINUTE_SECONDS = 60.0
ROUNDING_SECONDS = 0.001
"""Six times ten seconds are a minute, whatever floating point makes of them."""


class Quotas:
    """The use of every key by one replica. Not thread-safe: for its event loop.

    ``bounds`` tells what a key of a name may use, at any time anew; ``clock`` is in seconds.

    Audio is a token bucket with room for a minute's worth, kept as one number per key: when it is
    full again (the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(
        self, bounds: Callable[[str], QuotaSettings], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._full_at: dict[str, float] = {}

    def begin(self, key: str) -> None:
        """A request of ``key`` begins; :meth:`end` must follow. Raises ``QuotaExceeded``."""
        bound = self._bounds(key).concurrent_requests
        if bound is not None and self._running[key] >= bound:
            raise QuotaExceeded(
                f"Requests of this API key in progress at once: at most {bound}. Send this one "
                "again when another has been answered."
            )
        self._running[key] += 1

    def end(self, key: str) -> None:
        """That request is over."""
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]

    def charge(self, key: str, seconds: float) -> float:
        """Take ``seconds`` of audio from the key's minute; returns what :meth:`refund` gives back.

        Audio longer than the whole bucket is taken from a full one, and paid off afterwards. Raises
        ``QuotaExceeded`` with the time until there is enough.
        """
        bound = self._bounds(key).audio_seconds_per_minute
        if bound is None:
            return 0.0
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now))
        cost = MINUTE_SECONDS * seconds / bound  # the time in which so much flows in
        wait = full_at - now - max(0.0, MINUTE_SECONDS - cost)
        if wait > ROUNDING_SECONDS:
            raise QuotaExceeded(
                f"This API key may send {bound:g} s of audio a minute and has done so. "
                f"Send this request again in {math.ceil(wait)} s.",
                retry_after_seconds=wait,
            )
        self._full_at[key] = full_at + cost
        return cost

    def refund(self, key: str, cost: float) -> None:
        """Give back what :meth:`charge` took for audio that got no transcript."""
        if cost:
            self._full_at[key] -= cost


class QuotaCore:
    """:class:`serve_app.core.SpeechCore` that charges each clip to the key of its caller."""

    def __init__(self, core: SpeechCore, quotas: Quotas) -> None:
        self._core = core
        self._quotas = quotas

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """As the core does. Raises ``QuotaExceeded`` while earlier audio is being paid off."""
        if caller.key:
            self._quotas.charge(caller.key, 0.0)
        await self._core.admit(caller, body_bytes)

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        """As the core does. Raises ``QuotaExceeded`` as well.

        A clip that gets an error costs nothing; one whose caller leaves or whose time is up does.
        """
        if not caller.key:
            return await self._core.transcribe(clip, options, caller)
        cost = self._quotas.charge(caller.key, clip.received_seconds)
        try:
            return await self._core.transcribe(clip, options, caller)
        except Exception:
            self._quotas.refund(caller.key, cost)
            raise

    async def model(self) -> ModelFacts:
        """The core's."""
        return await self._core.model()
