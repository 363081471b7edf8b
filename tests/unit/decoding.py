"""A pool of real workers for tests that are not coroutines, and what its workers cost."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.audio.clip import AudioClip
from serve_app.audio.forks import Ending
from serve_app.audio.limits import AudioLimits, Hold, WorkerLimits, unbounded
from serve_app.audio.pool import DecodingPool

MIB = 2**20
SPARE_KIB = 16 * 1024
"""Pages of code that one container's reader touches and another's does not."""


class Decoding(logging.Handler):
    """A running pool. ``endings``: of its workers, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: DecodingPool) -> None:
        super().__init__()
        self.loop = loop
        self.pool = pool
        self.endings: list[Ending] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG and isinstance(record.args, tuple):
            self.endings += [told for told in record.args if isinstance(told, Ending)]

    def decode(self, payload: bytes, hold: Hold = unbounded) -> AudioClip:
        """The clip, once the worker has ended as well."""
        return self.channels(payload, hold, apart=False)[0]

    def channels(
        self, payload: bytes, hold: Hold = unbounded, *, apart: bool = True
    ) -> list[AudioClip]:
        """That of each channel."""

        async def decode() -> list[AudioClip]:
            n_endings = len(self.endings)
            try:
                return await self.pool.decode(bytearray(payload), hold, apart=apart)
            finally:
                while len(self.endings) == n_endings:
                    await asyncio.sleep(0.001)

        return self.loop.run_until_complete(decode())


@contextmanager
def decoding(bounds: WorkerLimits) -> Iterator[Decoding]:
    """A pool that runs inside the block."""
    loop = asyncio.new_event_loop()
    pool = DecodingPool(AudioLimits(), bounds)
    logger = logging.getLogger("whisper_ox.decoding")
    level = logger.level
    running = pool.running()
    decoding = Decoding(loop, pool)
    logger.addHandler(decoding)
    logger.setLevel(logging.DEBUG)
    try:
        loop.run_until_complete(running.__aenter__())
        yield decoding
        loop.run_until_complete(running.__aexit__(None, None, None))
    finally:
        logger.removeHandler(decoding)
        logger.setLevel(level)
        loop.close()
