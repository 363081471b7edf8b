"""Refuses a request before its body is read, if every model process would refuse it.

When a replica refuses a request, another may still have room. So the HTTP side then asks all of
them for their :class:`Load`, at most once a second and as long as one of them refuses requests.
While all of them would refuse even the smallest request of a kind, it refuses such requests itself.
If a replica does not answer, nothing is refused here.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.caller import FIRST_MINUTE_SECONDS, Priority
from serve_app.engine.admission import LEAST_RETRY_SECONDS, Load, Refusal
from serve_app.engine.request import WINDOW_SECONDS, Demand
from serve_app.errors import Overloaded
from serve_app.fresh import FRESH_SECONDS

SPREAD_SECONDS = 60.0
"""Most seconds by which a caller's return is delayed for others, many of whom never come back."""

TINY_BYTES = 64 * 1024
"""Bodies up to this size, 2 s of audio, are always read. They may well be silence."""

MINUTE_BYTES = int(FIRST_MINUTE_SECONDS * SAMPLE_RATE_HZ * 2) + TINY_BYTES
"""A minute of 16-bit audio and its form. Up to this size a body counts as a short request, unless
its priority says otherwise, even if it turns out to be a longer recording, well compressed."""


class EarlyRefusal:
    """Refuses nobody until a replica does.

    ``ask`` returns the load of every replica, or nothing if one of them is silent.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Sequence[Load]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._asking = asyncio.Lock()
        self._loads: Sequence[Load] = ()
        self._as_of = -math.inf
        self._may_refuse = False
        self._next_turn = {True: -math.inf, False: -math.inf}

    async def check(self, priority: Priority, body_bytes: int | None) -> None:
        """Raise ``Overloaded`` if every replica would.

        ``body_bytes`` is the size that the client has announced, None if it has not.
        """
        if not self._may_refuse or (body_bytes is not None and body_bytes <= TINY_BYTES):
            return
        await self._look()
        kinds = {Priority.INTERACTIVE: [True], Priority.BULK: [False]}.get(priority)
        if kinds is None:
            kinds = [True, False] if body_bytes is None else [body_bytes <= MINUTE_BYTES]
        refusals = [refusal for is_short in kinds if (refusal := self._refusal(is_short))]
        if len(refusals) == len(kinds):
            first = min(refusals, key=_seconds)
            raise self._turn_away(first, kinds[refusals.index(first)], WINDOW_SECONDS)

    async def refused(self, error: Overloaded, demand: Demand) -> Overloaded:
        """Note that a replica has refused ``demand``. Returns what to tell the caller."""
        self._may_refuse = True
        await self._look()
        refusal = Refusal(error.message, error.retry_after_seconds or LEAST_RETRY_SECONDS)
        return self._turn_away(refusal, demand.is_short, demand.work_seconds)

    async def _look(self) -> None:
        async with self._asking:
            if self._may_refuse and self._clock() - self._as_of > FRESH_SECONDS:
                self._loads = await self._ask()
                self._as_of = self._clock()
                self._may_refuse = any(load.refusal or load.bulk_refusal for load in self._loads)

    def _refusal(self, is_short: bool) -> Refusal | None:
        """The refusal that ends first, if every replica refuses."""
        refusals = [load.refusal if is_short else load.bulk_refusal for load in self._loads]
        if not refusals or None in refusals:
            return None
        first = min(filter(None, refusals), key=_seconds)
        age = self._clock() - self._as_of
        return Refusal(first.reason, max(0.0, first.retry_after_seconds - age))

    def _turn_away(self, refusal: Refusal, is_short: bool, work_seconds: float) -> Overloaded:
        """The refusal, with a time at which none of the callers refused before is due.

        Callers who all came back at once would be refused again.
        """
        now, rate = self._clock(), sum(load.work_per_second for load in self._loads)
        earliest = now + refusal.retry_after_seconds
        turn = min(max(earliest, self._next_turn[is_short]), earliest + SPREAD_SECONDS)
        self._next_turn[is_short] = turn + (work_seconds / rate if rate else 0.0)
        seconds = max(1, math.ceil(turn - now))
        return Overloaded(
            f"{refusal.reason} Send the request again in {seconds} s.",
            retry_after_seconds=seconds,
        )


def _seconds(refusal: Refusal) -> float:
    return refusal.retry_after_seconds
