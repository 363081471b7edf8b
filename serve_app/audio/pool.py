"""Uploads are decoded in processes of their own, so that a hostile one costs nobody else anything.

A worker decodes one upload and ends, or is ended as soon as the caller leaves or a limit is
reached; the next one is forked while nobody waits for it. The upload and its samples go through
files in memory, which are passed on as descriptors.
"""

import asyncio
import contextlib
import fcntl
import logging
import mmap
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator

import numpy as np
import numpy.typing as npt

from serve_app.audio.clip import AudioClip
from serve_app.audio.forks import Ending, Worker, Zygote
from serve_app.audio.limits import AudioLimits, Hold, WorkerLimits, unbounded
from serve_app.audio.worker import OUT_OF_MEMORY
from serve_app.errors import (
    AudioTooCostly,
    AudioTooLarge,
    InvalidAudio,
    NotReady,
    UnsupportedAudio,
    WhisperOxError,
)

logger = logging.getLogger("whisper_ox.decoding")

LARGE_BYTES = 4 * 2**20
"""Uploads from here on take at most half of the workers, so that others need not wait for them."""

_PIECE_BYTES = 2**20
"""Copied at once, in a fraction of a millisecond; then the event loop serves others."""

_REFUSALS = {kind.__name__: kind for kind in (AudioTooLarge, InvalidAudio, UnsupportedAudio)}


class DecodingPool:
    """Workers for the event loop of one process. They start when they are first needed."""

    def __init__(self, limits: AudioLimits, bounds: WorkerLimits) -> None:
        self._limits = limits
        self._bounds = bounds
        self._n_workers = bounds.n_workers
        self._turns = asyncio.Semaphore(self._n_workers)
        self._turns_of_large = asyncio.Semaphore(max(1, self._n_workers // 2))
        self._zygote: Zygote | None = None
        self._ready: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have workers ready inside the block; at its end, end all of them."""
        for _ in range(self._n_workers):
            self._begin(self._add())
        try:
            yield
        finally:
            await asyncio.gather(*self._tasks)
            await asyncio.gather(*map(self._end, self._ready))
            if self._zygote is not None:
                await self._zygote.close()

    async def decode(
        self, payload: bytearray, hold: Hold = unbounded, *, apart: bool = False
    ) -> list[AudioClip]:
        """Decode an upload, which is emptied once a worker has its copy.

        The channels are mixed into one clip. If they are to be kept ``apart``, there is a clip for
        each, all of the same length.

        ``hold`` is told of the memory that is taken and given back meanwhile; what it raises ends
        the decoding, and so does cancelling the call.

        Raises what :func:`~serve_app.audio.plan.inspect` and :func:`~serve_app.audio.decode.decode`
        raise, ``AudioTooCostly`` at a limit on memory or time, and ``NotReady`` if no worker can be
        had.
        """
        is_large = len(payload) >= LARGE_BYTES
        async with self._turns_of_large if is_large else contextlib.nullcontext(), self._turns:
            worker = await self._take()
            try:
                return await self._decoded(
                    worker, payload, hold, self._limits.max_channels if apart else 1
                )
            except TimeoutError:
                raise _too_costly(f"{self._bounds.stall_seconds:g} s without progress") from None
            except OSError as error:
                logger.warning("a worker was lost: %s", error)
                self._forget(worker.zygote)
                raise _lost() from error
            finally:
                self._begin(self._replace(worker))

    async def _decoded(
        self, worker: Worker, payload: bytearray, hold: Hold, n_outputs: int
    ) -> list[AudioClip]:
        n_upload_bytes, n_bytes = len(payload), 0
        with contextlib.ExitStack() as files:
            outputs = [files.enter_context(_memory_file()) for _ in range(n_outputs)]
            with _memory_file() as upload:
                hold(n_upload_bytes)
                await _copy(payload, upload)
                payload.clear()
                hold(-n_upload_bytes)
                worker.begin(upload, outputs)
            while (answer := await worker.answer(self._bounds.stall_seconds)) is not None:
                n_more_bytes = sum(map(_size, outputs)) - n_bytes
                hold(n_more_bytes)
                n_bytes += n_more_bytes
                if "error" in answer:
                    raise _REFUSALS[answer["error"]](answer["message"], code=answer["code"])
                if "seconds" in answer:
                    hold(-n_upload_bytes)
                    return [
                        AudioClip(_samples(output), answer["seconds"], answer["track"])
                        for output in outputs[: answer["n_outputs"]]
                    ]
        raise self._refusal(await worker.end())

    async def _take(self) -> Worker:
        """A worker that is ready. Raises ``NotReady``."""
        for _ in range(_TRIES):
            while self._ready:
                worker = self._ready.pop()  # the last one: its memory is in the caches
                if worker.is_alive():
                    return worker
                self._begin(self._end(worker))
            await asyncio.shield(self._begin(self._add()))
        raise NotReady("The server has no process left to decode audio with; try again later.")

    async def _add(self) -> None:
        """Fork a worker. A zygote that cannot is replaced, from the next attempt on."""
        if self._zygote is None:
            self._zygote = Zygote(self._limits, self._bounds)
        zygote = self._zygote
        try:
            self._ready.append(await zygote.fork())
        except OSError as error:
            logger.warning("no worker could be forked: %s", error)
            self._forget(zygote)

    def _forget(self, zygote: Zygote) -> None:
        """Use neither a zygote that is gone nor the workers that ended with it."""
        if self._zygote is zygote:
            self._zygote = None
            self._begin(zygote.close())
        for worker in [one for one in self._ready if one.zygote is zygote]:
            self._ready.remove(worker)
            self._begin(self._end(worker))

    async def _replace(self, worker: Worker) -> None:
        await self._end(worker)
        if len(self._ready) < self._n_workers:
            await self._add()

    async def _end(self, worker: Worker) -> None:
        with contextlib.suppress(OSError):
            logger.debug("a worker ended: %s", await worker.end())

    def _begin(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _refusal(self, ending: Ending) -> WhisperOxError:
        """Why a worker ended without an answer."""
        logger.warning("a worker ended without an answer: %s", ending)
        if ending.code == -signal.SIGXCPU:
            return _too_costly("more processor time than its sound accounts for")
        if ending.code == OUT_OF_MEMORY:
            return _too_costly(f"more than {self._bounds.memory_bytes >> 20} MiB of memory")
        if ending.code == -signal.SIGKILL:
            return _lost()
        return InvalidAudio("The file breaks its decoder. Is it damaged? Convert it to WAV.")


_TRIES = 3


def _lost() -> NotReady:
    return NotReady("The process that decoded the file is gone; send the file again.")


def _too_costly(cost: str) -> AudioTooCostly:
    return AudioTooCostly(
        f"Decoding the file takes {cost}, which sound files do not. Is it damaged? Convert it to "
        "WAV or FLAC and send that."
    )


@contextlib.contextmanager
def _memory_file() -> Iterator[int]:
    """The descriptor of an empty file in memory, which its last user takes along."""
    descriptor = os.memfd_create("audio", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _copy(payload: bytearray, descriptor: int) -> None:
    start = 0
    while start < len(payload):
        with memoryview(payload)[start : start + _PIECE_BYTES] as piece:
            start += os.write(descriptor, piece)
        await asyncio.sleep(0)


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _samples(descriptor: int) -> npt.NDArray[np.int16]:
    """What a worker wrote, without a copy. It can change none of it from here on."""
    fcntl.fcntl(
        descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    n_bytes = _size(descriptor)
    if not n_bytes:
        return np.zeros(0, np.int16)
    return np.frombuffer(mmap.mmap(descriptor, n_bytes, prot=mmap.PROT_READ), np.int16)
