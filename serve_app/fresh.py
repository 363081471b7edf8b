"""An answer that many ask for and that may be a second old."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

FRESH_SECONDS = 1.0
"""How old an answer may be, in seconds."""

Answer = TypeVar("Answer")


class Fresh(Generic[Answer]):
    """Asks at most once a second, and never twice at the same time.

    An error is an answer as well: whoever asks within that second gets it too.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Answer]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._asking = asyncio.Lock()
        self._as_of = -math.inf
        self._known: Answer | Exception

    def forget(self) -> None:
        """Ask again next time."""
        self._as_of = -math.inf

    async def get(self) -> Answer:
        """The answer. Raises what ``ask`` raises."""
        async with self._asking:
            if self._clock() - self._as_of > FRESH_SECONDS:
                try:
                    self._known = await self._ask()
                except Exception as error:
                    self._known = error
                self._as_of = self._clock()
        if isinstance(self._known, Exception):
            raise self._known.with_traceback(None)  # it would grow each time
        return self._known
